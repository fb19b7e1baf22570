// Intervals that came and went while a log was kept, after a crash.
#include <algorithm>
#include <optional>

#include "catch.hpp"
#include "engine/engines.hpp"
#include "engine/journal_runs.hpp"
#include "engine/random_runs.hpp"
#include "klineagg/engine/past_intervals.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// Spans that no period tells: of such the log has only the names.
const std::vector<Interval>& tables() {
    static const std::vector<Interval> all = [] {
        std::vector<Interval> made;
        for (const auto& [name, hours, hole] : {std::tuple{"early", 3, 1}, {"late", 5, 0}}) {
            std::vector<Span> spans;
            for (TimeNs at = WEDNESDAY - 4 * NS_PER_DAY; at < WEDNESDAY + 40 * NS_PER_DAY;) {
                const TimeNs end = at + (hours + static_cast<int>(spans.size() % 2)) * NS_PER_HOUR;
                spans.push_back({at, end});
                at = end + hole * NS_PER_HOUR;
            }
            made.push_back(Interval::table(name, std::move(spans)));
        }
        return made;
    }();
    return all;
}

using Named = std::map<std::pair<std::string, std::int32_t>, Rows>;

std::vector<Interval> live_of(const Engine& engine) {
    std::vector<int> outputs;
    for (const RollupLevel& level : engine.plan().levels())
        if (level.output != HIDDEN_LEVEL) outputs.push_back(level.output);
    std::sort(outputs.begin(), outputs.end());
    std::vector<Interval> live;
    for (const int output : outputs)
        live.push_back(engine.intervals()[static_cast<std::size_t>(output)]);
    return live;
}

void add_named(const Logged& logged, const Series& series, Named& to) {
    for (const auto& [key, rows] : series) {
        const Interval& interval = logged.engine->intervals()[static_cast<std::size_t>(key.first)];
        Rows& all = to[{interval.name(), key.second}];
        all.insert(all.end(), rows.begin(), rows.end());
    }
}

Named named(const Logged& logged, const Series& series) {
    Named all;
    add_named(logged, series, all);
    return all;
}

std::string difference(const Named& a, const Named& b) {
    for (const auto& [one, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
        for (const auto& [key, rows] : *one) {
            const auto place = other->find(key);
            const std::string name = key.first + " of " + std::to_string(key.second);
            if (place == other->end()) return name + " is only in one of them";
            const std::size_t most = std::min(rows.size(), place->second.size());
            for (std::size_t i = 0; i < most; ++i) {
                if (rows[i] == place->second[i]) continue;
                std::ostringstream text;
                text << name << ", row " << i << rows[i] << place->second[i];
                return text.str();
            }
            if (rows.size() != place->second.size()) return name + " has another number of rows";
        }
    }
    return "";
}

/// Two engines that are told the same, one of them with a log; the other one never stops.
class Pair {
public:
    Pair(Rng& rng, std::vector<Interval> intervals, EngineOptions options, Table table)
        : rng_(&rng),
          options_(std::move(options)),
          table_(std::move(table)),
          whole_(intervals, options_, nullptr),
          other_(std::in_place, intervals, options_, std::make_shared<FaultyFiles>()) {}

    /// Nothing else is compared, and the other one alone may have others beside them.
    void compare_only(const std::vector<Interval>& intervals) {
        for (const Interval& each : intervals) only_.push_back(each.name());
    }
    [[nodiscard]] bool is_done() const { return done_ == table_.size(); }
    void push() {
        const std::size_t next = std::min(table_.size(), done_ + 1 + pick(*rng_, 60));
        each([&](Logged& one) {
            (void)one.producer->push(table_.view(done_, next));
            REQUIRE(one.engine->flush());
        });
        done_ = next;
    }
    void advance() {
        if (done_ == 0) return;
        const TimeNs time =
            table_.time[done_ - 1] + between(*rng_, -600, 600) * NS_PER_SECOND;
        clock_ = std::max(clock_, time);
        each([&](Logged& one) { REQUIRE(one.engine->advance(clock_)); });
    }
    void change(const std::vector<Interval>& intervals) {
        ConfigChange change;
        change.intervals = intervals;
        if (chance(*rng_, 20)) change.gaps = chance(*rng_, 50) ? GapMode::runs : GapMode::none;
        each([&](Logged& one) { (void)one.engine->reconfigure(change); });
    }
    void change_whole(const std::vector<Interval>& intervals) {
        ConfigChange change;
        change.intervals = intervals;
        (void)whole_.engine->reconfigure(change);
    }
    void change_other(const std::vector<Interval>& intervals) {
        ConfigChange change;
        change.intervals = intervals;
        (void)other_->engine->reconfigure(change);
    }
    void take() {
        Snapshot a = whole_.take();
        Snapshot b = other_->take(true);
        a.ack();
        b.ack();
        keep();
    }
    /// The log is what is left; `wanted`: of the engine that goes on.
    void crash(const std::vector<Interval>& wanted) {
        const auto files = other_->files->clone();
        EngineOptions next = options_;
        next.workers = 1 + static_cast<int>(pick(*rng_, 3));
        next.aggregator = whole_.engine->rules();
        next.journal.past_tables = tables();
        other_.emplace(wanted, next, files);
        REQUIRE(other_->engine->intervals().size() >= wanted.size());
    }
    void crash() { crash(live_of(*whole_.engine)); }
    void crash_as_it_is() { crash(live_of(*other_->engine)); }
    void compare() {
        const Named whole = named(whole_, whole_.view());
        REQUIRE(difference(whole, compared(named(*other_, other_->view()))) == "");
    }
    void end() {
        Snapshot a = whole_.take();
        Snapshot b = other_->take();
        keep();
        compare();
    }
    [[nodiscard]] const Engine& whole() const { return *whole_.engine; }
    [[nodiscard]] const Engine& other() const { return *other_->engine; }

private:
    template <class Act>
    void each(const Act& act) {
        act(whole_);
        act(*other_);
    }
    void keep() {
        add_named(whole_, std::exchange(whole_.closed, {}), closed_);
        add_named(*other_, std::exchange(other_->closed, {}), other_closed_);
        REQUIRE(difference(closed_, compared(other_closed_)) == "");
    }
    [[nodiscard]] Named compared(Named all) const {
        if (only_.empty()) return all;
        std::erase_if(all, [&](const auto& each) {
            return std::find(only_.begin(), only_.end(), each.first.first) == only_.end();
        });
        return all;
    }

    Rng* rng_;
    EngineOptions options_;
    Table table_;
    Logged whole_;
    std::optional<Logged> other_;
    Named closed_;
    Named other_closed_;
    std::size_t done_ = 0;
    TimeNs clock_ = TIME_MIN;
    std::vector<std::string> only_;
};

std::vector<Interval> chosen(Rng& rng) {
    std::vector<Interval> intervals;
    while (intervals.empty()) {
        for (const Interval& table : tables())
            if (chance(rng, 25)) intervals.push_back(table);
        for (const char* name : {"1s", "5s", "10s", "1m", "5m", "15m", "1h", "4h", "1d+8h", "1d",
                                 "3d", "1w", "90s", "1M"})
            if (chance(rng, 25)) intervals.push_back(Interval::parse(name));
    }
    return intervals;
}

void come_and_go(std::uint64_t seed, int rounds) {
    Rng rng(seed);
    for (int round = 0; round < rounds; ++round) {
        INFO("come_and_go, seed " << seed << ", round " << round);
        const EngineOptions options = random_rules(rng);
        Pair pair(rng, chosen(rng), options,
                  random_table(rng, 1 + pick(rng, 6), 300, TradeMix{}));
        while (!pair.is_done()) {
            pair.push();
            if (chance(rng, 25)) pair.advance();
            if (chance(rng, 25)) pair.change(chosen(rng));
            if (chance(rng, 15)) pair.take();
            if (chance(rng, 20)) {
                pair.crash();
                pair.compare();
            }
        }
        pair.end();
    }
}

/// One that crashes has new intervals when it goes on; the other one had them since the checkpoint.
void come_with_a_crash(std::uint64_t seed, int rounds) {
    Rng rng(seed);
    for (int round = 0; round < rounds; ++round) {
        INFO("come_with_a_crash, seed " << seed << ", round " << round);
        const EngineOptions options = random_rules(rng);
        const std::vector<Interval> before = chosen(rng);
        Pair pair(rng, before, options, random_table(rng, 1 + pick(rng, 6), 300, TradeMix{}));
        pair.push();
        pair.take();
        std::vector<Interval> wanted = before;
        for (const Interval& each : chosen(rng))
            if (std::find(before.begin(), before.end(), each) == before.end())
                wanted.push_back(each);
        pair.change_whole(wanted);
        wanted = live_of(pair.whole());  // in the order of their numbers
        const auto go_on = [&] {
            for (std::size_t i = 1 + pick(rng, 4); i > 0 && !pair.is_done(); --i) {
                pair.push();
                if (chance(rng, 25)) pair.advance();
            }
        };
        go_on();
        pair.crash(wanted);
        pair.compare();
        go_on();
        // Nothing was acknowledged meanwhile: the next one begins at the same checkpoint.
        pair.crash();
        pair.compare();
        go_on();
        pair.take();
        go_on();
        pair.crash();
        pair.compare();
        pair.end();
    }
}

/// Some are there all the time, while others come, also finer ones, and go.
void stay(std::uint64_t seed, int rounds) {
    Rng rng(seed);
    for (int round = 0; round < rounds; ++round) {
        INFO("stay, seed " << seed << ", round " << round);
        const EngineOptions options = random_rules(rng);
        const std::vector<Interval> kept = chosen(rng);
        Pair pair(rng, kept, options, random_table(rng, 1 + pick(rng, 6), 300, TradeMix{}));
        pair.compare_only(kept);
        while (!pair.is_done()) {
            pair.push();
            if (chance(rng, 25)) pair.advance();
            if (chance(rng, 40)) {
                std::vector<Interval> wanted = kept;
                for (const Interval& each : chosen(rng))
                    if (std::find(kept.begin(), kept.end(), each) == kept.end())
                        wanted.push_back(each);
                pair.change_other(wanted);
            }
            if (chance(rng, 15)) pair.take();
            if (chance(rng, 20)) pair.crash_as_it_is();
            if (chance(rng, 30)) pair.compare();
        }
        pair.end();
    }
}

}  // namespace

TEST_CASE("intervals that stay have the same bars, whatever comes and goes, and crashes",
          "[engine][journal]") {
    stay(9108, 40);
}

TEST_CASE("intervals that came and went are after a crash what they were", "[engine][journal]") {
    come_and_go(9101, 40);
}

TEST_CASE("an interval that comes with a crash has all that the log holds", "[engine][journal]") {
    come_with_a_crash(9102, 40);
}

TEST_CASE("who recovers is told which tables the log names", "[engine][journal]") {
    EngineOptions options;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    const std::vector<Interval> minute = {Interval::parse("1m")};
    const auto with = [&](std::size_t table) { return std::vector{minute[0], tables()[table]}; };
    Logged first(with(0), options, std::make_shared<FaultyFiles>());
    const auto names = [](const Logged& of) { return engine::past_tables(*of.log, {}); };
    CHECK(names(first) == std::vector<std::string>{"early"});
    ConfigChange change;
    change.intervals = with(1);
    (void)first.engine->reconfigure(change);
    CHECK(names(first) == std::vector<std::string>{"early", "late"});
    // Behind the checkpoint the log does not say what the engine had there.
    first.take(true).ack();
    change.intervals = minute;
    (void)first.engine->reconfigure(change);
    CHECK(names(first) == std::vector<std::string>{"late"});
}

TEST_CASE("trades beyond what tables are good for are not left out in silence", "[engine][journal]") {
    EngineOptions options;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    const std::vector<Interval> intervals = {Interval::parse("1m"), tables()[0]};
    Logged first(intervals, options, std::make_shared<FaultyFiles>());
    for (const TimeNs time : {WEDNESDAY, WEDNESDAY + NS_PER_DAY})
        (void)first.producer->push(one_trade(1, time).view(0, 1));
    REQUIRE(first.engine->flush());
    const auto files = first.files->clone();
    options.journal.reach = {WEDNESDAY, WEDNESDAY + NS_PER_DAY};
    try {
        const Logged next(intervals, options, files);
        FAIL("it went on without a trade");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::recovery_mismatch);
        CHECK(error.fields().back().second == std::to_string(WEDNESDAY + NS_PER_DAY));
    }
    options.journal.reach.close += 1;
    const Logged next(intervals, options, files);
    CHECK(next.engine->recovery().trades == 2);
}

TEST_CASE("intervals that come and go, and many crashes", "[engine][journal][.slow]") {
    for (std::uint64_t seed = 9103; seed < 9107; ++seed) {
        come_and_go(seed, 400);
        come_with_a_crash(seed, 400);
        stay(seed, 400);
    }
}
