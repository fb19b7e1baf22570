// A program written with iceoryx2 alone that receives klineagg's bars and, with "send", sends some:
//   cargo run --release --example bars -- klineagg/bars [count]
//   cargo run --release --example bars -- klineagg/bars send
// On the other side: Iceoryx2Bridge(bus, "bars", "out"), or "in". The layout is that of BAR.
use iceoryx2::prelude::*;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, ZeroCopySend)]
#[repr(C)]
#[type_name("Bar")]
struct Bar {
    sequence: u64,
    publish_time: i64,
    publisher: [u8; 16],
    instrument: [u8; 16],
    interval: [u8; 24],
    open_time: i64,
    close_time: i64,
    open: f64,
    high: f64,
    low: f64,
    close: f64,
    volume: f64,
    quote_volume: f64,
    trade_count: i64,
    taker_buy_volume: f64,
    taker_buy_quote_volume: f64,
    first_trade_id: i64,
    last_trade_id: i64,
    first_trade_time: i64,
    last_trade_time: i64,
    run_length: i32,
    revision: i32,
    flags: u16,
    reserved: [u8; 6],
}
const _: () = assert!(std::mem::size_of::<Bar>() == 208);

/// Texts are padded with zeros.
fn text(field: &[u8]) -> &str {
    std::str::from_utf8(field).unwrap_or("?").trim_end_matches('\0')
}

fn named<const N: usize>(name: &str) -> [u8; N] {
    let mut field = [0; N];
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    set_log_level(LogLevel::Error);
    let arguments: Vec<String> = std::env::args().collect();
    let name = arguments.get(1).map_or("klineagg/bars", String::as_str);
    let node = NodeBuilder::new().create::<ipc::Service>()?;
    let service = node.service_builder(&name.try_into()?).publish_subscribe::<[Bar]>().open()?;
    if arguments.get(2).is_some_and(|what| what == "send") {
        let publisher = service.publisher_builder().initial_max_slice_len(4).create()?;
        let empty: Bar = unsafe { std::mem::zeroed() };
        let bars: Vec<Bar> = (0..4)
            .map(|i| Bar {
                instrument: named("ETHUSDT"),
                interval: named("1m"),
                close: i as f64 + 0.5,
                flags: 1,
                ..empty
            })
            .collect();
        publisher.loan_slice_uninit(bars.len())?.write_from_slice(&bars).send()?;
        println!("sent");
        // What was sent is gone with its publisher: until the other side has it.
        std::io::stdin().read_line(&mut String::new())?;
        return Ok(());
    }
    let most: usize = arguments.get(2).map_or(Ok(usize::MAX), |count| count.parse())?;
    let subscriber = service.subscriber_builder().create()?;
    println!("ready");
    let end = Instant::now() + Duration::from_secs(120);
    let mut got = 0;
    while got < most && Instant::now() < end {
        let Some(sample) = subscriber.receive()? else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        for bar in sample.payload() {
            println!(
                "{} {} {} {} {}",
                bar.sequence,
                text(&bar.instrument),
                text(&bar.interval),
                bar.close,
                bar.flags
            );
            got += 1;
        }
    }
    Ok(())
}
