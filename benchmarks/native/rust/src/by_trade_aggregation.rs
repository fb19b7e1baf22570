//! trade_aggregation: one aggregator for each symbol and interval, fed trade by trade.

use trade_aggregation::candle_components::{
    CandleComponent, CandleComponentUpdate, Close, CloseTimeStamp, High, Low, NumTrades, Open,
    OpenTimeStamp, Volume, VolumeBuys,
};
use trade_aggregation::{
    Aggregator, AlignedTimeRule, Candle, GenericAggregator, MillisecondPeriod, ModularCandle,
    TimestampResolution, Trade,
};

use crate::{Columns, Job, Row};

#[derive(Debug, Default, Clone, Candle)]
struct Bar {
    open: Open,
    high: High,
    low: Low,
    close: Close,
    volume: Volume,
    bought: VolumeBuys,
    count: NumTrades<u32>,
    first_time: OpenTimeStamp<i64>,
    last_time: CloseTimeStamp<i64>,
}

pub struct Prepared {
    symbols: usize,
    trades: Vec<(u32, Trade)>,
    lengths_ns: Vec<i64>,
    bars: Vec<Vec<(u32, Bar)>>,
}

impl Prepared {
    pub fn new(columns: &Columns) -> Self {
        let trades = (0..columns.time.len())
            .map(|i| {
                let sign = f64::from(columns.side[i].signum());
                let trade = Trade {
                    timestamp: columns.time[i],
                    price: columns.price[i],
                    size: columns.quantity[i] * sign,
                };
                (columns.symbol[i] as u32, trade)
            })
            .collect();
        Self { symbols: columns.symbols, trades, lengths_ns: vec![], bars: vec![] }
    }
}

impl Job for Prepared {
    fn run(&mut self, lengths_ns: &[i64]) {
        let levels = lengths_ns.len();
        let mut aggregators = Vec::with_capacity(self.symbols * levels);
        for _ in 0..self.symbols {
            for length in lengths_ns {
                let period = MillisecondPeriod::from_non_zero((length / 1_000_000) as u64);
                let rule = AlignedTimeRule::new(period, TimestampResolution::Nanosecond);
                aggregators.push(GenericAggregator::<Bar, AlignedTimeRule, Trade>::new(rule, false));
            }
        }
        let mut bars: Vec<Vec<(u32, Bar)>> = vec![vec![]; levels];
        for (symbol, trade) in &self.trades {
            let first = *symbol as usize * levels;
            for (level, aggregator) in aggregators[first..first + levels].iter_mut().enumerate() {
                if let Some(bar) = aggregator.update(trade) {
                    bars[level].push((*symbol, bar));
                }
            }
        }
        for (at, aggregator) in aggregators.iter().enumerate() {
            let bar = aggregator.unfinished_candle();
            if bar.count() > 0 {
                bars[at % levels].push(((at / levels) as u32, bar.clone()));
            }
        }
        self.lengths_ns = lengths_ns.to_vec();
        self.bars = bars;
    }

    fn rows(&self, level: usize) -> Vec<Row> {
        let length = self.lengths_ns[level];
        self.bars[level]
            .iter()
            .map(|(symbol, bar)| Row {
                symbol: i64::from(*symbol),
                open_time: bar.first_time() - bar.first_time() % length,
                open: bar.open(),
                high: bar.high(),
                low: bar.low(),
                close: bar.close(),
                volume: bar.volume(),
                taker_buy_volume: bar.bought(),
                trade_count: i64::from(bar.count()),
                first_trade_time: bar.first_time(),
                last_trade_time: bar.last_time(),
            })
            .collect()
    }
}
