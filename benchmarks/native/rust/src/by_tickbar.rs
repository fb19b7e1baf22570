//! tickbar: one aggregator for each symbol and interval, over the symbol's own arrays of integers.

use std::time::Duration;

use tickbar::{Bar, BarAggregator, BarType, TimeAlignment};

use crate::{Columns, Job, Row};

/// Prices and volumes are whole numbers in this crate: enough decimals for the workload's grids.
const PRICE_SCALE: f64 = 1e5;
const VOLUME_SCALE: f64 = 1e3;

#[derive(Clone, Default)]
struct Symbol {
    times: Vec<i64>,
    prices: Vec<i64>,
    volumes: Vec<i64>,
}

pub struct Prepared {
    symbols: Vec<Symbol>,
    bars: Vec<Vec<(usize, Vec<Bar>)>>,
}

impl Prepared {
    pub fn new(columns: &Columns) -> Self {
        let mut symbols = vec![Symbol::default(); columns.symbols];
        for i in 0..columns.time.len() {
            let symbol = &mut symbols[columns.symbol[i] as usize];
            symbol.times.push(columns.time[i]);
            symbol.prices.push((columns.price[i] * PRICE_SCALE).round() as i64);
            symbol.volumes.push((columns.quantity[i] * VOLUME_SCALE).round() as i64);
        }
        Self { symbols, bars: vec![] }
    }
}

impl Job for Prepared {
    fn run(&mut self, lengths_ns: &[i64]) {
        self.bars = vec![vec![]; lengths_ns.len()];
        for (id, symbol) in self.symbols.iter().enumerate() {
            let Some(first) = symbol.times.first() else { continue };
            for (level, length) in lengths_ns.iter().enumerate() {
                let interval = Duration::from_nanos(*length as u64);
                let mut aggregator = BarAggregator::with_bar_type(
                    BarType::Time { interval },
                    TimeAlignment::UTC,
                    5,
                    3,
                    false,
                    false,
                    *first,
                );
                aggregator.ingest_from_arrays(&symbol.times, &symbol.prices, &symbol.volumes);
                self.bars[level].push((id, aggregator.finalize().into_inner()));
            }
        }
    }

    fn rows(&self, level: usize) -> Vec<Row> {
        let mut rows = vec![];
        for (symbol, bars) in &self.bars[level] {
            rows.extend(bars.iter().map(|bar| Row {
                symbol: *symbol as i64,
                open_time: bar.timestamp_nanos,
                open: bar.open as f64 / PRICE_SCALE,
                high: bar.high as f64 / PRICE_SCALE,
                low: bar.low as f64 / PRICE_SCALE,
                close: bar.close as f64 / PRICE_SCALE,
                volume: bar.volume as f64 / VOLUME_SCALE,
                trade_count: i64::from(bar.tick_count),
                ..Row::default()
            }));
        }
        rows
    }
}
