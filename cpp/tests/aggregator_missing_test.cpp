// Trades that are known to be missing: what is said of bars in which nobody else traded.
#include <map>
#include <tuple>
#include <utility>

#include "catch.hpp"
#include "recorder.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

std::vector<Interval> intervals_of(Rng& rng) {
    std::vector<Span> sessions;
    for (TimeNs open = WEDNESDAY - NS_PER_DAY; open < WEDNESDAY + 2 * NS_PER_DAY;
         open += 10 * NS_PER_MINUTE)
        sessions.push_back({open + 2 * NS_PER_MINUTE, open + 9 * NS_PER_MINUTE});
    std::vector<Interval> all{Interval::parse("1m"), Interval::parse("5m"),
                              Interval::table("sessions", sessions)};
    if (chance(rng, 30)) all.insert(all.begin(), Interval::parse("10s"));
    return all;
}

/// One bar as it was told of last; a run stands for each of its bars.
struct Told {
    Row row;
    std::size_t step = 0;  // when
};
using Bars = std::map<std::pair<std::size_t, TimeNs>, Told>;

void tell(Run<PartialBar>& run, const std::vector<Interval>& intervals, std::size_t step,
          Bars& bars) {
    for (std::size_t output = 0; output < run.rows.size(); ++output) {
        for (const Row& row : run.rows[output]) {
            Span span = intervals[output].next(row.open_time);
            for (std::int64_t i = 0; i < row.run_length; ++i) {
                Told now{row, step};
                now.row.open_time = span.open;
                now.row.close_time = span.close;
                now.row.run_length = 1;
                const auto [place, is_new] = bars.try_emplace({output, span.open}, now);
                INFO("output " << output << place->second.row << now.row);
                if (!is_new) REQUIRE(now.row.revision > place->second.row.revision);
                place->second = now;
                span = intervals[output].next(span.close);
            }
        }
        run.rows[output].clear();
    }
}

struct Hole {
    TimeNs from;
    TimeNs to;
    std::size_t step;
};

struct Life {
    Life(const std::vector<Interval>& of, const AggregatorOptions& options)
        : intervals(of), run(of, options) {}

    void settle(std::size_t step) {
        if (run.options.late == LatePolicy::amend) {
            run.aggregator.hand_out(run.sink(), false);
            run.aggregator.mark_given();
        }
        tell(run, intervals, step, bars);
    }

    std::vector<Interval> intervals;
    Run<PartialBar> run;
    Bars bars;
};

/// What must be told of a bar: the flag by the holes that came before it was told of.
bool is_missed(const Told& told, const std::vector<Hole>& holes, bool amends) {
    bool missed = false;
    for (const Hole& hole : holes) {
        const bool meets = hole.from < told.row.close_time && hole.to >= told.row.open_time;
        missed = missed || (meets && (amends || hole.step < told.step));
    }
    return missed;
}

void compare(const Life& life, const Life& whole, const std::vector<Hole>& holes) {
    const bool amends = life.run.options.late == LatePolicy::amend;
    REQUIRE(life.bars.size() == whole.bars.size());
    for (const auto& [key, told] : life.bars) {
        Row row = told.row;
        Row other = whole.bars.at(key).row;
        INFO("output " << key.first << row << other);
        REQUIRE(((row.flags & BAR_INCOMPLETE) != 0) == is_missed(told, holes, amends));
        REQUIRE(row.revision >= other.revision);
        REQUIRE(((row.flags & BAR_REVISED) != 0) == (row.revision > 0));
        row.flags = other.flags = row.flags & BAR_GAP;
        row.revision = other.revision = 0;
        REQUIRE(row == other);
    }
}

}  // namespace

TEST_CASE("bars that lack trades say so, also when nobody else traded in them",
          "[aggregator][history]") {
    Rng rng(531);
    for (int round = 0; round < 300; ++round) {
        AggregatorOptions options;
        options.late = chance(rng, 50) ? LatePolicy::amend : LatePolicy::drop;
        options.gaps = chance(rng, 50) ? GapMode::runs : GapMode::flat;
        options.lateness_ns = chance(rng, 70) ? 0 : 40 * NS_PER_SECOND;
        const auto intervals = intervals_of(rng);
        Life life(intervals, options);
        Life whole(intervals, options);
        std::vector<Hole> holes;
        TimeNs time = WEDNESDAY + 3 * NS_PER_MINUTE;
        INFO("round " << round);
        for (std::size_t step = 0; step < 60; ++step) {
            const auto around = [&] {
                return time + between(rng, -8, 8) * 13 * NS_PER_SECOND;
            };
            if (step != 0 && holes.size() < 8 && chance(rng, 25)) {
                const TimeNs from = around();
                const Hole hole{from, from + between(rng, 0, 9) * 17 * NS_PER_SECOND, step};
                holes.push_back(hole);
                life.run.aggregator.mark_incomplete(hole.from, hole.to);
            } else if (chance(rng, 15)) {
                const TimeNs clock = time + between(rng, 0, 5) * NS_PER_MINUTE;
                for (Life* each : {&life, &whole})
                    each->run.aggregator.advance(clock, each->run.sink());
            } else {
                if (chance(rng, 70)) time += between(rng, 0, 6) * 29 * NS_PER_SECOND;
                Trade trade;
                trade.time = chance(rng, 25) ? around() : time;
                trade.price = static_cast<double>(1 + pick(rng, 5));
                trade.quantity = 1.0;
                for (Life* each : {&life, &whole}) each->run.add({trade});
            }
            for (Life* each : {&life, &whole}) each->settle(step);
        }
        for (Life* each : {&life, &whole}) {
            Trade last;
            last.time = time + 2 * 60 * NS_PER_MINUTE;
            last.price = last.quantity = 1.0;
            each->run.add({last});
            each->settle(60);
        }
        compare(life, whole, holes);
    }
}
