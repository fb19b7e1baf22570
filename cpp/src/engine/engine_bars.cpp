// Bars that are held for reading, and bars to begin with.
#include "klineagg/engine.hpp"

#include "control.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <string>

#include "klineagg/engine/replan.hpp"
#include "klineagg/engine/row_sink.hpp"
#include "klineagg/engine/table_builder.hpp"
#include "option_error.hpp"

namespace klineagg {

using engine::BarRow;
using engine::RouteTable;
using engine::Worker;

namespace {

struct ReadBars final : engine::Command {
    struct Rows {
        std::vector<BarRow>* into;

        [[nodiscard]] BarRow& next(std::int16_t) const { return into->emplace_back(); }
        void tell(const BarRow&) const noexcept {}
    };

    void run(Worker& worker) override {
        if (worker.id() != owner) return;
        worker.catch_up(*slot);
        engine::OpenBars::Scratch scratch;
        engine::OpenBars::open_rows(slot->aggregator, scratch,
                                    engine::RowSink<Rows>(*slot, plan->outputs, {&open}));
        slot->kept.each(static_cast<std::size_t>(output),
                        [this](const BarRow& row) { rows.push_back(row); });
        std::copy_if(open.begin(), open.end(), std::back_inserter(rows),
                     [this](const BarRow& row) { return row.interval == output; });
    }
    const engine::PlanGeneration* plan = nullptr;
    engine::SymbolSlot* slot = nullptr;
    std::uint32_t owner = 0;
    int output = 0;
    TimeNs watermark = TIME_NONE;
    std::vector<BarRow> rows;

private:
    std::vector<BarRow> open;  // of all outputs
};

BarRow row_at(const BarTable& table, std::int64_t index) {
    const BarColumns& at = table.columns();
    BarRow row;
    row.open_time = at.open_time[index];
    row.close_time = at.close_time[index];
    row.prices = {at.open[index], at.high[index], at.low[index], at.close[index]};
    row.sums[VOLUME] = at.volume[index];
    row.sums[QUOTE_VOLUME] = at.quote_volume[index];
    row.sums[TAKER_BUY_VOLUME] = at.taker_buy_volume[index];
    row.sums[TAKER_BUY_QUOTE] = at.taker_buy_quote_volume[index];
    row.trade_count = at.trade_count[index];
    row.first_trade_id = at.first_trade_id[index];
    row.last_trade_id = at.last_trade_id[index];
    row.first_trade_time = at.first_trade_time[index];
    row.last_trade_time = at.last_trade_time[index];
    row.symbol = at.symbol[index];
    row.run_length = at.run_length[index];
    row.revision = at.revision[index];
    row.interval = at.interval[index];
    row.flags = at.flags[index];
    return row;
}

}  // namespace

std::shared_ptr<const BarTable> Engine::bars(std::int32_t symbol, int output) {
    const Control lock(*this);
    core_->failure.check();
    const std::vector<int> live = core_->now().live_outputs();
    if (std::find(live.begin(), live.end(), output) == live.end())
        throw Error(ErrorCode::unknown_name, "there is no interval " + std::to_string(output),
                    {{"interval", std::to_string(output)}});
    const std::uint64_t packed = symbol >= 0 ? core_->routes.find(symbol) : RouteTable::EMPTY;
    if (!RouteTable::is_route(packed))
        throw Error(ErrorCode::unknown_name, "there is no symbol " + std::to_string(symbol),
                    {{"symbol", std::to_string(symbol)}});
    const engine::Route route = RouteTable::unpack(packed);
    ReadBars command;
    command.plan = &core_->now();
    command.slot = &core_->slots[route.slot];
    command.owner = route.worker;
    command.output = output;
    cut(command);
    engine::TableBuilder builder(command.rows.size(), core_->now().outputs.size());
    for (const BarRow& row : command.rows) builder.add(row);
    return std::make_shared<const BarTable>(builder.build());
}

std::size_t Engine::warm_start(const BarTable& table) {
    const Control lock(*this);
    if (state_.load() != EngineState::created)
        throw Error(ErrorCode::engine_state, "bars to begin with come before the engine is started");
    const std::size_t outputs = core_->now().outputs.size();
    for (const BarSeries& series : table.series()) {
        if (series.interval < 0 || static_cast<std::size_t>(series.interval) >= outputs)
            engine::throw_option("bars", "there is no interval " + std::to_string(series.interval));
        if (series.symbol < 0) engine::throw_option("bars", "a symbol is below 0");
    }
    std::map<std::int32_t, engine::Replanned::Known> symbols;
    for (const BarSeries& series : table.series()) {
        for (std::int64_t i = series.begin; i < series.end; ++i) {
            const BarRow row = row_at(table, i);
            if ((row.flags & BAR_CLOSED) == 0) continue;
            engine::Replanned::Known& known = symbols[series.symbol];
            known.last_closes.resize(outputs, NO_PRICE);
            known.covered_to.resize(outputs, TIME_NONE);
            const auto output = static_cast<std::size_t>(series.interval);
            known.covered_to[output] = std::max(known.covered_to[output], row.close_time);
            if (row.prices.close == row.prices.close) known.last_closes[output] = row.prices.close;
            known.watermark = std::max(known.watermark, row.close_time);
            core_->slots[core_->admit(series.symbol).slot].kept.put(row);
        }
    }
    for (const auto& [symbol, known] : symbols) {
        const engine::Route route = core_->admit(symbol);
        engine::SymbolSlot& slot = core_->slots[route.slot];
        slot.begins.assign(outputs, known.watermark);
        // Of the worker that will have it: what it gives back must be its own.
        slot.aggregator.set_pool(workers_[route.worker]->blocks());
        engine::Replanned::warm(slot.aggregator, known);
    }
    return symbols.size();
}

}  // namespace klineagg
