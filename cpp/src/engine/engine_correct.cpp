// Of an engine: bars that are put right, from trades that somebody else has at hand.
#include "klineagg/engine.hpp"

#include <algorithm>
#include <utility>

#include "control.hpp"
#include "klineagg/engine/correction.hpp"

namespace klineagg {

using engine::Command;
using engine::Corrected;
using engine::HeldBar;
using engine::Replacements;
using engine::Worker;

namespace {

constexpr std::size_t RECORD_BARS = 256;  // some 80 KiB of the log

struct Look final : Command {
    void run(Worker& worker) override {
        if (worker.id() != owner) return;
        worker.catch_up(*slot);
        if (correction->is_repair) Corrected::look(slot->aggregator, correction->range, bars);
        else for (const TimeNs time : correction->times)
            Corrected::look(slot->aggregator, time, bars);
    }
    const Correction* correction = nullptr;
    engine::SymbolSlot* slot = nullptr;
    std::uint32_t owner = 0;
    std::vector<HeldBar> bars;
};

struct Apply final : Command {
    Apply() { runs_halted = false; }
    void run(Worker& worker) override {
        if (worker.id() == owner) done = worker.correct(*slot, all);
    }
    Replacements all;
    engine::SymbolSlot* slot = nullptr;
    std::uint32_t owner = 0;
    bool done = false;
};

void sort_by_time(std::vector<Trade>& trades) {
    std::stable_sort(trades.begin(), trades.end(),
                     [](const Trade& a, const Trade& b) { return a.time < b.time; });
}

/// The bar that these trades make; they are in order of time.
PartialBar bar_of(const HeldBar& held, const std::vector<Trade>& trades) {
    PartialBar bar;
    start_bar(bar, held.span.open, held.span.close);
    const auto before = [](const Trade& trade, TimeNs time) { return trade.time < time; };
    const TimeNs end = std::min(held.limit, held.span.close);
    auto trade = std::lower_bound(trades.begin(), trades.end(), held.span.open, before);
    for (; trade != trades.end() && trade->time < end; ++trade) add_trade(bar, *trade);
    return bar;
}

}  // namespace

std::vector<HeldBar> Engine::look(const Correction& correction, engine::Route route) {
    Look command;
    command.correction = &correction;
    command.slot = &core_->slots[route.slot];
    command.owner = route.worker;
    cut(command);
    return std::move(command.bars);
}

bool Engine::apply(std::int32_t symbol, engine::Route route, Replacements all,
                   CorrectionReport& report) {
    Apply command;
    std::vector<std::byte> record;
    engine::ByteWriter to(record);
    engine::put_record(to, engine::CorrectedRecord{engine::name_of_symbol(symbol), all});
    enter(command, std::move(record));
    command.all = std::move(all);
    command.slot = &core_->slots[route.slot];
    command.owner = route.worker;
    cut(command);
    check_halted(command);
    report.position = position_of(command);
    return command.done;
}

CorrectionReport Engine::correct(Correction correction) {
    const Control lock(*this);
    core_->failure.check();
    check_journal();
    const std::uint64_t packed = core_->routes.find(correction.symbol);
    if (!engine::RouteTable::is_route(packed))
        throw Error(ErrorCode::unknown_name, "no trade of this symbol has come",
                    {{"symbol", std::to_string(correction.symbol)}});
    const engine::Route route = engine::RouteTable::unpack(packed);
    sort_by_time(correction.before);
    sort_by_time(correction.after);
    CorrectionReport report;
    Replacements all;
    const std::vector<RollupLevel>& levels = core_->now().plan.levels();
    const auto send = [&] {
        if (all.bars.empty() && all.marked.empty()) return;
        const std::size_t count = all.bars.size();
        const bool done = apply(correction.symbol, route, std::exchange(all, {}), report);
        (done ? report.replaced : report.pending) += count;
    };
    for (const HeldBar& held : look(correction, route)) {
        const Interval& interval = *levels[static_cast<std::size_t>(held.level)].interval;
        PartialBar wanted = bar_of(held, correction.after);
        if (held.is_known && Corrected::is_same(held.bar, wanted)) {
            ++report.same;
            continue;
        }
        if (held.is_open && held.level == 0 && (!held.is_known || !wanted.has_trades())) {
            // An open bar without trades is none: the next trade, or the bar's end, is waited for.
            report.pending = 1;
            return report;
        }
        const bool is_explained =
            held.is_known && (correction.is_repair ||
                              Corrected::is_same(held.bar, bar_of(held, correction.before)));
        if (!is_explained) {
            if (correction.is_repair && !wanted.has_trades()) continue;  // before all that is kept
            ++report.unexplained;
            if (correction.is_repair) continue;
            all.marked.push_back(interval);
            all.marked_at.push_back(held.span.open);
            continue;
        }
        if (!correction.is_repair)
            wanted.flags = static_cast<std::uint16_t>(held.bar.flags & BAR_INCOMPLETE);
        all.bars.push_back({interval, held.span.open, held.bar, wanted});
        if (correction.is_repair && all.bars.size() == RECORD_BARS) send();
    }
    send();
    return report;
}

void Engine::raise_revisions() {
    if (!core_->options.revisions) return;
    for (const KnownRevision& known : *core_->options.revisions) {
        const std::uint64_t packed = core_->routes.find(known.symbol);
        if (!engine::RouteTable::is_route(packed)) continue;
        engine::SymbolSlot& slot = core_->slots[engine::RouteTable::unpack(packed).slot];
        Corrected::raise(slot.aggregator, known.output, known.span, known.revision);
    }
}

}  // namespace klineagg
