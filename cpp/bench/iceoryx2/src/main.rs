// iceoryx2 between two processes, as bench_bus.cpp measures the bus: half of a round trip of a
// 128-byte message, by busy polling, and messages sent a second by batch, with one subscriber.
// One JSON object a line. Usage: bench_iceoryx2 [seconds of each measurement]
use iceoryx2::prelude::*;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, ZeroCopySend)]
#[repr(C)]
#[type_name("Message")]
struct Message {
    words: [u64; 16],
}

const NONE: Message = Message { words: [0; 16] };
const BATCHES: [usize; 4] = [1, 16, 64, 256];

fn start(role: &str, id: &str) -> Child {
    Command::new(std::env::current_exe().unwrap()).args([role, id]).spawn().unwrap()
}

extern "C" {
    fn sched_setaffinity(pid: i32, bytes: usize, mask: *const u64) -> i32;
}

/// As bench_bus does, where there are two cores: left to the system, both ends may share one for
/// the whole run, and then a message takes a time slice.
fn pin(core: usize) {
    if std::thread::available_parallelism().map_or(1, |count| count.get()) > 1 {
        let mask: u64 = 1 << core;
        unsafe { sched_setaffinity(0, 8, &mask) };
    }
}

macro_rules! service {
    ($node:expr, $id:expr, $name:expr) => {
        $node
            .service_builder(&format!("klineagg-bench/{}/{}", $id, $name).as_str().try_into().unwrap())
            .publish_subscribe::<[Message]>()
            .subscriber_max_buffer_size(256)
            .max_publishers(1)
            .enable_safe_overflow(true)
            .open_or_create()
            .unwrap()
    };
}

fn percentile(sorted: &[u64], share: f64) -> u64 {
    sorted[(share * (sorted.len() - 1) as f64) as usize]
}

fn latency(id: &str, seconds: f64) {
    let node = NodeBuilder::new().create::<ipc::Service>().unwrap();
    let there = service!(node, id, "there");
    let back = service!(node, id, "back");
    let publisher = there.publisher_builder().initial_max_slice_len(1).create().unwrap();
    let subscriber = back.subscriber_builder().create().unwrap();
    let mut child = start("echo", id);
    pin(0);
    std::thread::sleep(Duration::from_millis(500));
    let mut halves = Vec::new();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end {
        let begin = Instant::now();
        publisher.loan_slice_uninit(1).unwrap().write_from_slice(&[NONE]).send().unwrap();
        let limit = begin + Duration::from_secs(1);
        while subscriber.receive().unwrap().is_none() {
            if Instant::now() > limit {
                break;
            }
        }
        halves.push(begin.elapsed().as_nanos() as u64 / 2);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    halves.sort_unstable();
    println!(
        "{{\"what\": \"latency\", \"wait\": \"spin\", \"count\": {}, \"p50_ns\": {}, \"p99_ns\": {}, \"p999_ns\": {}, \"max_ns\": {}}}",
        halves.len(),
        percentile(&halves, 0.5),
        percentile(&halves, 0.99),
        percentile(&halves, 0.999),
        halves[halves.len() - 1]
    );
}

fn echo(id: &str) {
    pin(1);
    let node = NodeBuilder::new().create::<ipc::Service>().unwrap();
    let there = service!(node, id, "there");
    let back = service!(node, id, "back");
    let subscriber = there.subscriber_builder().create().unwrap();
    let publisher = back.publisher_builder().initial_max_slice_len(1).create().unwrap();
    loop {
        if let Some(sample) = subscriber.receive().unwrap() {
            let message = sample.payload()[0];
            drop(sample);
            publisher.loan_slice_uninit(1).unwrap().write_from_slice(&[message]).send().unwrap();
        }
    }
}

fn rate(id: &str, seconds: f64) {
    let node = NodeBuilder::new().create::<ipc::Service>().unwrap();
    let service = service!(node, id, "rate");
    let publisher = service.publisher_builder().initial_max_slice_len(256).create().unwrap();
    let mut child = start("take", id);
    std::thread::sleep(Duration::from_millis(500));
    let messages = [NONE; 256];
    for batch in BATCHES {
        let begin = Instant::now();
        let end = begin + Duration::from_secs_f64(seconds);
        let mut sent = 0usize;
        while Instant::now() < end {
            for _ in 0..256 {
                let sample = publisher.loan_slice_uninit(batch).unwrap();
                sample.write_from_slice(&messages[..batch]).send().unwrap();
            }
            sent += 256 * batch;
        }
        println!(
            "{{\"what\": \"rate\", \"subscribers\": 1, \"batch\": {}, \"sent_per_s\": {:.0}}}",
            batch,
            sent as f64 / begin.elapsed().as_secs_f64()
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn take(id: &str) {
    let node = NodeBuilder::new().create::<ipc::Service>().unwrap();
    let service = service!(node, id, "rate");
    let subscriber = service.subscriber_builder().create().unwrap();
    let mut copy = [NONE; 256];
    loop {
        if let Some(sample) = subscriber.receive().unwrap() {
            copy[..sample.payload().len()].copy_from_slice(sample.payload());
            std::hint::black_box(&copy);
        }
    }
}

fn main() {
    set_log_level(LogLevel::Error);
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("echo") => echo(&arguments[2]),
        Some("take") => take(&arguments[2]),
        given => {
            let seconds = given.map_or(1.0, |text| text.parse().unwrap());
            let id = std::process::id().to_string();
            let measured = id.clone();  // by a thread of its own: the rates are not pinned
            std::thread::spawn(move || latency(&measured, seconds)).join().unwrap();
            rate(&id, seconds);
        }
    }
}
