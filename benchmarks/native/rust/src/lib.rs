//! Two crates for bars behind a small C interface, so that the benchmark can time them in its process.
//!
//! Each is given the trades in its own form before the clock starts and keeps its bars in its own form;
//! rows are copied out afterwards.

mod by_tickbar;
mod by_trade_aggregation;

/// The input columns, as the caller's arrays.
#[repr(C)]
pub struct Trades {
    size: usize,
    symbol: *const i32,
    time: *const i64,
    price: *const f64,
    quantity: *const f64,
    side: *const i8,
}

/// A bar as it is copied out; what a crate does not compute stays zero.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Row {
    pub symbol: i64,
    pub open_time: i64,
    pub open: f64,
    pub high: f64,
    pub low: f64,
    pub close: f64,
    pub volume: f64,
    pub taker_buy_volume: f64,
    pub trade_count: i64,
    pub first_trade_time: i64,
    pub last_trade_time: i64,
}

/// A borrowed view of the columns.
pub struct Columns<'a> {
    pub symbol: &'a [i32],
    pub time: &'a [i64],
    pub price: &'a [f64],
    pub quantity: &'a [f64],
    pub side: &'a [i8],
    pub symbols: usize,
}

/// One crate with its prepared input and, after `run`, its bars.
pub trait Job {
    fn run(&mut self, lengths_ns: &[i64]);
    fn rows(&self, level: usize) -> Vec<Row>;
}

/// Which: 0 trade_aggregation, 1 tickbar.
///
/// # Safety
/// The arrays must hold `size` values and symbols must be in `0..symbols`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn job_new(which: i32, trades: *const Trades, symbols: usize) -> *mut Box<dyn Job> {
    let trades = unsafe { &*trades };
    let n = trades.size;
    let columns = unsafe {
        Columns {
            symbol: std::slice::from_raw_parts(trades.symbol, n),
            time: std::slice::from_raw_parts(trades.time, n),
            price: std::slice::from_raw_parts(trades.price, n),
            quantity: std::slice::from_raw_parts(trades.quantity, n),
            side: std::slice::from_raw_parts(trades.side, n),
            symbols,
        }
    };
    let job: Box<dyn Job> = if which == 0 {
        Box::new(by_trade_aggregation::Prepared::new(&columns))
    } else {
        Box::new(by_tickbar::Prepared::new(&columns))
    };
    Box::into_raw(Box::new(job))
}

/// # Safety
/// `job` must come from `job_new`, `lengths_ns` must hold `levels` values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn job_run(job: *mut Box<dyn Job>, lengths_ns: *const i64, levels: usize) {
    let lengths = unsafe { std::slice::from_raw_parts(lengths_ns, levels) };
    unsafe { &mut *job }.run(lengths);
}

/// Copies the bars of a level to `out` (when it is not null) and returns how many there are.
///
/// # Safety
/// `job` must come from `job_new`; `out` must have room for all rows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn job_rows(job: *const Box<dyn Job>, level: usize, out: *mut Row) -> usize {
    let rows = unsafe { &*job }.rows(level);
    if !out.is_null() {
        unsafe { std::ptr::copy_nonoverlapping(rows.as_ptr(), out, rows.len()) };
    }
    rows.len()
}

/// # Safety
/// `job` must come from `job_new` and is gone afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn job_free(job: *mut Box<dyn Job>) {
    drop(unsafe { Box::from_raw(job) });
}
