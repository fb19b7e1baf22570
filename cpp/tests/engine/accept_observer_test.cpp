// Who is told of the trades that a log has accepted.
#include <algorithm>
#include <map>
#include <mutex>

#include "catch.hpp"
#include "engine/journal_runs.hpp"
#include "klineagg/engine/accepted.hpp"
#include "klineagg/engine/checkpoint_slot.hpp"
#include "klineagg/wal/reader.hpp"
#include "klineagg/wal/trade_codec.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

const std::vector<Interval> INTERVALS{Interval::parse("1s"), Interval::parse("1m")};

/// A trade, and whose.
struct Heard {
    engine::SymbolName symbol;
    engine::LaneRecord row;
};

bool is_same(const Heard& a, const Heard& b) {
    return a.symbol == b.symbol && a.row.time == b.row.time && a.row.price == b.row.price &&
           a.row.quantity == b.row.quantity && a.row.id == b.row.id &&
           a.row.taker_buy == b.row.taker_buy && a.row.source == b.row.source;
}

class Listener final : public engine::AcceptObserver {
public:
    void accepted(std::uint32_t worker, std::span<const engine::LaneRecord> rows,
                  std::uint64_t first, const engine::SlotTable& slots) noexcept override {
        const std::lock_guard lock(mutex_);
        std::uint64_t& last = last_[worker];
        in_order_ &= first > last && !rows.empty();
        last = first + rows.size() - 1;
        early_ &= log == nullptr || log->written() >= last;
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const auto slot = static_cast<std::uint32_t>(rows[i].symbol);
            const Heard heard{engine::name_of_symbol(slots[slot].symbol), rows[i]};
            once_ &= heard_.emplace(first + i, heard).second;
        }
    }
    /// All of it by number, when nobody tells any more.
    [[nodiscard]] const std::map<std::uint64_t, Heard>& heard() const noexcept { return heard_; }
    [[nodiscard]] std::size_t size() {
        const std::lock_guard lock(mutex_);
        return heard_.size();
    }
    void check() const {
        CHECK(in_order_);
        CHECK(once_);
        CHECK(early_);
    }

    const wal::Log* log = nullptr;

private:
    std::mutex mutex_;
    std::map<std::uint64_t, Heard> heard_;
    std::map<std::uint32_t, std::uint64_t> last_;
    bool in_order_ = true;
    bool once_ = true;
    bool early_ = true;
};

Table some_trades(std::size_t rows) {
    Rng rng(77);
    TradeMix mix;
    mix.ids = true;
    return random_table(rng, 7, rows, mix);
}

EngineOptions options_of(int workers, const std::shared_ptr<Listener>& listener) {
    EngineOptions options;
    options.workers = workers;
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.block_timeout_ns = NS_PER_SECOND;
    options.journal.observer = listener;
    return options;
}

/// The trades of a log by their numbers.
std::map<std::uint64_t, Heard> trades_of(const std::shared_ptr<FaultyFiles>& files) {
    wal::Reader reader(files, "log");
    wal::Reader::Frame frame;
    wal::TradeDecoder decoder;
    std::map<std::uint64_t, Heard> found;
    while (reader.next(frame)) {
        if (frame.view.header.topic != wal::Topic::trade) continue;
        std::vector<wal::LaneRecord> rows;
        REQUIRE(decoder.decode(frame.view.payload, rows));
        for (std::size_t i = 0; i < rows.size(); ++i) {
            engine::SymbolName symbol{"", rows[i].symbol};
            for (const wal::Name& each : reader.names())
                if (each.kind == wal::NameKind::symbol && each.id == rows[i].symbol)
                    symbol = {each.name, -1};
            found[frame.view.header.sequence + i] = {symbol, rows[i]};
        }
    }
    return found;
}

void check_same(const std::map<std::uint64_t, Heard>& heard,
                const std::map<std::uint64_t, Heard>& logged) {
    REQUIRE(heard.size() == logged.size());
    auto other = logged.begin();
    for (const auto& [number, one] : heard) {
        INFO("record " << number);
        REQUIRE(number == other->first);
        REQUIRE(is_same(one, other->second));
        ++other;
    }
}

}  // namespace

TEST_CASE("the observer is told of each accepted trade once, with its number in the log",
          "[engine][journal]") {
    const Table table = some_trades(6'000);
    for (const int workers : {1, 3}) {
        INFO("workers " << workers);
        const auto files = std::make_shared<FaultyFiles>();
        const auto listener = std::make_shared<Listener>();
        {
            Logged live(INTERVALS, options_of(workers, listener), files);
            listener->log = live.log.get();
            for (std::size_t from = 0; from < table.size(); from += 130) {
                const std::size_t to = std::min(table.size(), from + 130);
                (void)live.producer->push(table.view(from, to));
                if (from % 1'300 == 0) (void)live.engine->advance(table.time[to - 1]);
            }
            REQUIRE(live.engine->flush());
            CHECK(listener->size() == table.size());
            listener->log = nullptr;
        }
        listener->check();
        check_same(listener->heard(), trades_of(files));
        // Of what is read again, those are told who ask the log.
        const auto later = std::make_shared<Listener>();
        Logged again(INTERVALS, options_of(workers, later), files->clone());
        CHECK(again.engine->recovery().trades == table.size());
        (void)again.producer->push(table.view(0, 100));
        REQUIRE(again.engine->flush());
        CHECK(later->size() == 100);
        CHECK(later->heard().begin()->first > listener->heard().rbegin()->first);
    }
}

TEST_CASE("the observer is not told of what a halted log has not accepted, and of it later",
          "[engine][journal]") {
    const Table table = some_trades(2'000);
    for (std::uint64_t call = 4; call < 40; call += 3) {
        INFO("call " << call);
        const auto files = std::make_shared<FaultyFiles>();
        const auto listener = std::make_shared<Listener>();
        {
            Logged live(INTERVALS, options_of(2, listener), files,
                        log_options(wal::SyncMode::always));
            files->fail_at(call, FaultyFiles::Fault::io_error, true);
            std::size_t from = 0;
            try {
                for (; from < table.size(); from += 50) {
                    (void)live.producer->push(table.view(from, from + 50));
                    if (!live.engine->flush()) break;
                }
            } catch (const Error& error) {
                CHECK(error.code() == ErrorCode::wal_halted);
            }
            (void)live.view();  // whatever is accepted is told of
            CHECK(listener->size() == static_cast<std::size_t>(live.engine->counts().applied));
                    files->heal();
            live.engine->resume();
            REQUIRE(live.engine->flush());
            const auto in = static_cast<std::size_t>(live.engine->counts().applied);
            CHECK(listener->size() == in);
            if (in < table.size()) {
                (void)live.producer->push(table.view(in, table.size()));
                REQUIRE(live.engine->flush());
            }
            CHECK(listener->size() == table.size());
        }
        listener->check();
        check_same(listener->heard(), trades_of(files));
    }
}
