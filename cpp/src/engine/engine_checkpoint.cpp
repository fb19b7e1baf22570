// The state of the whole engine at a cut.
#include "control.hpp"
#include "klineagg/engine.hpp"

#include <algorithm>
#include <utility>

#include "klineagg/engine/checkpoint.hpp"
#include "klineagg/engine/state_capture.hpp"
#include "pause.hpp"

namespace klineagg {

using engine::StateCapture;
using engine::Worker;

namespace {

struct FreezeState final : engine::Command {
    void run(Worker& worker) override {
        worker.close_up_to(watermark);
        worker.release_clock();
        worker.freeze_state();
    }
    TimeNs watermark = TIME_NONE;
};

/// One symbol of the result, wherever it was written.
struct Part {
    engine::SymbolName name;
    std::span<const std::byte> bytes;
};

}  // namespace

std::vector<std::int32_t> Engine::prepare_states() {
    finish_states();  // one that was left in the middle, for lack of memory
    for (const auto& worker : workers_)
        worker->state_capture().prepare(core_->slots.used(), core_->now().live_outputs());
    // Symbols that no worker has heard of yet are known nevertheless.
    std::vector<std::int32_t> known;
    core_->routes.each([&](std::int32_t symbol, engine::Route) { known.push_back(symbol); });
    return known;
}

void Engine::finish_states() {
    engine::Pause pause;
    for (const auto& worker : workers_) {
        StateCapture& capture = worker->state_capture();
        while (!capture.is_done()) {
            core_->failure.check();
            if (state_.load() != EngineState::running) (void)capture.advance(core_->slots, 1024);
            else pause();
        }
    }
}

std::vector<std::byte> Engine::collect_states(const std::vector<std::int32_t>& known,
                                              TimeNs watermark) {
    finish_states();
    EngineCounts counts = retired_counts_;
    for (const auto& log : logs_)
        if (log->is_retired()) counts += counts_of(*log);
    std::vector<std::int32_t> written;
    std::vector<Part> parts;
    for (const auto& worker : workers_) {
        const StateCapture& capture = worker->state_capture();
        counts.applied += capture.counts().applied;
        counts.late += capture.counts().late;
        counts.beyond_horizon += capture.counts().beyond_horizon;
        counts.outside += capture.counts().outside;
        counts.duplicates += capture.counts().duplicates;
        for (const StateCapture::Record& record : capture.records()) {
            written.push_back(record.symbol);
            parts.push_back({engine::name_of_symbol(record.symbol), capture.bytes(record)});
        }
    }
    std::sort(written.begin(), written.end());
    // Their slots are empty: only when they were first heard of is known.
    std::vector<std::vector<std::byte>> unused;
    const engine::PlanGeneration& generation = core_->now();
    for (const std::int32_t symbol : known) {
        if (std::binary_search(written.begin(), written.end(), symbol)) continue;
        const std::uint64_t packed = core_->routes.find(symbol);
        if (!engine::RouteTable::is_route(packed)) continue;
        engine::SymbolSlot slot(generation, 0, core_->options.keep_bars);
        slot.joined = core_->slots[engine::RouteTable::unpack(packed).slot].joined;
        if (generation.options.coverage_start == TIME_NONE) slot.aggregator.cover_from(slot.joined);
        unused.emplace_back();
        engine::ByteWriter to(unused.back());
        engine::put_slot(to, slot, generation.live_outputs(), watermark);
        parts.push_back({engine::name_of_symbol(symbol), {}});
        parts.back().bytes = unused.back();
    }
    std::sort(parts.begin(), parts.end(),
              [](const Part& a, const Part& b) { return a.name < b.name; });
    engine::CheckpointHead head;
    head.epoch = snapshotter_->taken_epoch();
    head.watermark = watermark;
    if (core_->clock->simulated() && core_->clock->now() != TIME_MIN)
        head.simulated = core_->clock->now();
    head.applied = counts.applied;
    head.late = counts.late;
    head.beyond_horizon = counts.beyond_horizon;
    head.outside = counts.outside;
    head.duplicates = counts.duplicates;
    core_->sources.each([&](const engine::SourceCounts& source) {
        const engine::IdCounts ids = source.read();
        if (ids.duplicates != 0 || ids.gaps != 0 || ids.out_of_order != 0)
            head.sources.push_back({source.source, ids});
    });
    std::sort(head.sources.begin(), head.sources.end(),
              [](const auto& a, const auto& b) { return a.number < b.number; });
    std::size_t size = 4096;
    for (const Part& part : parts) size += part.name.text.size() + part.bytes.size() + 16;
    std::vector<std::byte> bytes;
    bytes.reserve(size);
    engine::ByteWriter to(bytes);
    engine::put_head(to, head, generation);
    to.put(static_cast<std::uint32_t>(parts.size()));
    for (const Part& part : parts) {
        engine::put_name(to, part.name);
        to.put(static_cast<std::uint32_t>(part.bytes.size()));
        to.put_bytes(part.bytes.data(), part.bytes.size());
    }
    for (const auto& worker : workers_) worker->state_capture().clear();
    return bytes;
}

std::vector<std::byte> Engine::checkpoint() {
    const Control lock(*this);
    core_->failure.check();
    const std::vector<std::int32_t> known = prepare_states();
    FreezeState freeze;
    freeze.watermark = hold_clocks();
    enter(freeze, freeze.watermark);
    cut(freeze);
    highest_watermark_ = std::max(highest_watermark_, freeze.watermark);
    // Of a log that has halted the clock stands where it stood.
    const TimeNs watermark = core_->journal ? workers_.front()->clock_watermark() : freeze.watermark;
    auto checkpoint = placed(collect_states(known, watermark), position_of(freeze));
    if (checkpoint) return std::move(*checkpoint);
    core_->journal->check();  // it has halted
    throw Error(ErrorCode::wal_closed, "the engine's log was closed before it was on the disk");
}

}  // namespace klineagg
