#include "klineagg/bus/engine_feed.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <unordered_map>

#include "klineagg/engine/core.hpp"
#include "klineagg/engine/dirty_table.hpp"
#include "klineagg/engine/open_view.hpp"
#include "klineagg/engine/row_sink.hpp"
#include "klineagg/error.hpp"
#include "klineagg/symbol_table.hpp"

namespace klineagg::bus {

using engine::BarRow;
using engine::MonotonicNs;
using engine::SlotSet;
using engine::SymbolSlot;

std::size_t publisher_of(std::string_view symbol, std::size_t publishers) noexcept {
    const std::uint64_t hash = hash_of(symbol);
    return static_cast<std::size_t>((hash ^ (hash >> 32U)) % publishers);
}

void set_trade_id(char (&field)[40], std::int64_t first, std::int64_t last) noexcept {
    if (first == NO_TRADE_ID) return;
    char* end = std::to_chars(field, field + sizeof field, first).ptr;
    if (last == first) return;
    *end++ = '-';
    std::to_chars(end, field + sizeof field, last);
}

namespace {

constexpr std::size_t OPEN_TURN = 16;       // symbols; trades wait meanwhile
constexpr std::size_t STAGED_RECORDS = 256;  // before they are shown, within a block

Bar to_bar(const BarRow& row) {
    Bar bar;
    bar.open_time = row.open_time;
    bar.close_time = row.close_time;
    bar.open = row.prices.open;
    bar.high = row.prices.high;
    bar.low = row.prices.low;
    bar.close = row.prices.close;
    bar.volume = row.sums[VOLUME];
    bar.quote_volume = row.sums[QUOTE_VOLUME];
    bar.trade_count = row.trade_count;
    bar.taker_buy_volume = row.sums[TAKER_BUY_VOLUME];
    bar.taker_buy_quote_volume = row.sums[TAKER_BUY_QUOTE];
    bar.first_trade_id = row.first_trade_id;
    bar.last_trade_id = row.last_trade_id;
    bar.first_trade_time = row.first_trade_time;
    bar.last_trade_time = row.last_trade_time;
    bar.run_length = row.run_length;
    bar.revision = row.revision;
    bar.flags = row.flags;
    return bar;
}

template <class T>
void add(std::atomic<std::uint64_t>& counter, T count) noexcept {
    counter.fetch_add(static_cast<std::uint64_t>(count), std::memory_order_relaxed);
}

}  // namespace

/// Collects what its worker says and publishes it a block at a time.
class EngineFeedWorker final : public engine::WorkerObserver {
public:
    EngineFeedWorker(EngineFeed& feed, const engine::Core& core) : feed_(&feed), core_(&core) {
        const auto publishers = static_cast<std::size_t>(feed.options_.publishers);
        if (feed.of_[EngineFeed::TRADES] != nullptr) trades_.resize(publishers);
        bars_.resize(publishers);
    }

    void trades(const SymbolSlot& slot, const Trade* first, const Trade* last) override;
    void show(const engine::ClosedLog& log, std::uint64_t from, std::uint64_t to) override;
    void changed(const SymbolSlot& slot) override {
        if (feed_->of_[EngineFeed::OPEN_BARS] == nullptr || !changed_.insert(slot.index)) return;
        limit_ = std::max<std::size_t>(limit_, slot.index + 1);
        ++changed_count_;
    }
    void left(const SymbolSlot& slot) override {
        if (!changed_.contains(slot.index)) return;
        changed_.erase(slot.index);
        --changed_count_;
    }
    bool turn(const engine::SlotTable& slots, MonotonicNs now) override;
    void at(std::uint64_t position) override { position_ = position; }
    [[nodiscard]] MonotonicNs deadline() const noexcept override {
        return changed_count_ == 0 ? engine::NO_DEADLINE : next_open_;
    }
    void grow(std::size_t slots) override { changed_.grow(slots); }

private:
    struct Named {
        char instrument[NAME_BYTES] = {};
        std::size_t publisher = 0;
        bool fits = true;
    };
    struct IntervalName {
        char text[sizeof(Bar::interval)] = {};
        bool fits = true;
    };
    struct OpenRows;

    const Named& name_of_symbol(std::int32_t symbol);
    const IntervalName& name_of_interval(std::size_t output);
    void stage(const BarRow& row, EngineFeed::Kind kind);
    void publish_trades(std::size_t publisher);
    void publish_bars(std::size_t publisher, EngineFeed::Kind kind);

    EngineFeed* feed_;
    const engine::Core* core_;
    std::unordered_map<std::int32_t, Named> symbols_;
    std::vector<IntervalName> intervals_;
    std::vector<std::vector<TradeEvent>> trades_;  // by publisher
    std::vector<std::vector<Bar>> bars_;           // by publisher, of one kind at a time
    std::uint64_t position_ = 0;                   // in the engine's log
    SlotSet changed_;                              // symbols whose open bars are to be told
    std::size_t changed_count_ = 0;
    std::size_t limit_ = 0;
    std::size_t cursor_ = 0;
    bool sweeping_ = false;
    MonotonicNs next_open_ = 0;
    engine::OpenBars::Scratch scratch_;
};

const EngineFeedWorker::Named& EngineFeedWorker::name_of_symbol(std::int32_t symbol) {
    const auto [place, is_new] = symbols_.try_emplace(symbol);
    Named& named = place->second;
    if (!is_new) return named;
    std::string text = symbol_table().name(symbol);
    if (text.empty()) text = std::to_string(symbol);
    named.fits = set_name(named.instrument, text);
    named.publisher = publisher_of(text, static_cast<std::size_t>(feed_->options_.publishers));
    return named;
}

const EngineFeedWorker::IntervalName& EngineFeedWorker::name_of_interval(std::size_t output) {
    while (output >= intervals_.size()) {
        IntervalName name;
        name.fits = set_name(name.text, core_->now().outputs.at(intervals_.size()).name());
        intervals_.push_back(name);
    }
    return intervals_[output];
}

void EngineFeedWorker::trades(const SymbolSlot& slot, const Trade* first, const Trade* last) {
    if (trades_.empty() || first == last) return;
    const Named& named = name_of_symbol(slot.symbol);
    if (!named.fits) {
        add(feed_->unnamed_, last - first);
        return;
    }
    if (feed_->published_) [[unlikely]] {
        first += feed_->published_->skip_trades(name_of(named.instrument), position_,
                                                static_cast<std::size_t>(last - first));
    }
    std::vector<TradeEvent>& staged = trades_[named.publisher];
    for (const Trade* trade = first; trade != last; ++trade) {
        TradeEvent& event = staged.emplace_back();
        set_trade_id(event.trade_id, trade->id, trade->last_id);
        std::memcpy(event.instrument, named.instrument, NAME_BYTES);
        event.price = trade->price;
        event.volume = trade->quantity;
        event.time = trade->time;
        event.direction = trade->taker_buy ? 1 : -1;
        event.flags = trade->flags;
        set_origin(event.origin, position_);
        if (staged.size() == STAGED_RECORDS) publish_trades(named.publisher);
    }
}

void EngineFeedWorker::publish_trades(std::size_t publisher) {
    std::vector<TradeEvent>& staged = trades_[publisher];
    (*feed_->of_[EngineFeed::TRADES])[publisher]->publish(std::span<const TradeEvent>(staged));
    add(feed_->sent_[EngineFeed::TRADES], staged.size());
    staged.clear();
}

void EngineFeedWorker::stage(const BarRow& row, EngineFeed::Kind kind) {
    const Named& named = name_of_symbol(row.symbol);
    const IntervalName& interval = name_of_interval(static_cast<std::size_t>(row.interval));
    if (!named.fits || !interval.fits) {
        add(feed_->unnamed_, 1);
        return;
    }
    Bar bar = to_bar(row);
    std::memcpy(bar.instrument, named.instrument, NAME_BYTES);
    std::memcpy(bar.interval, interval.text, sizeof bar.interval);
    if (feed_->published_ && kind == EngineFeed::BARS && feed_->published_->has(bar)) return;
    set_origin(bar.origin, position_);
    bars_[named.publisher].push_back(bar);
    if (bars_[named.publisher].size() == STAGED_RECORDS) publish_bars(named.publisher, kind);
}

void EngineFeedWorker::publish_bars(std::size_t publisher, EngineFeed::Kind kind) {
    std::vector<Bar>& staged = bars_[publisher];
    if (staged.empty()) return;
    (*feed_->of_[kind])[publisher]->publish(std::span<const Bar>(staged));
    add(feed_->sent_[kind], staged.size());
    staged.clear();
}

void EngineFeedWorker::show(const engine::ClosedLog& log, std::uint64_t from, std::uint64_t to) {
    for (std::size_t i = 0; i < trades_.size(); ++i) {
        if (!trades_[i].empty()) publish_trades(i);
    }
    if (from == to || feed_->of_[EngineFeed::BARS] == nullptr) return;
    for (std::uint64_t row = from; row != to; ++row) stage(log.row(row), EngineFeed::BARS);
    for (std::size_t i = 0; i < bars_.size(); ++i) publish_bars(i, EngineFeed::BARS);
}

struct EngineFeedWorker::OpenRows {
    EngineFeedWorker* worker;
    BarRow* row;

    [[nodiscard]] BarRow& next(std::int16_t) const noexcept { return *row; }
    void tell(const BarRow& filled) const { worker->stage(filled, EngineFeed::OPEN_BARS); }
};

bool EngineFeedWorker::turn(const engine::SlotTable& slots, MonotonicNs now) {
    if (!sweeping_) {
        if (changed_count_ == 0 || now < next_open_) return false;
        sweeping_ = true;
        cursor_ = 0;
        next_open_ = now + feed_->options_.open_interval_ns;
    }
    for (std::size_t i = 0; i < OPEN_TURN; ++i) {
        cursor_ = changed_.next(cursor_, limit_);
        sweeping_ = cursor_ != SlotSet::NONE;
        if (!sweeping_) break;
        const SymbolSlot& slot = slots[static_cast<std::uint32_t>(cursor_)];
        left(slot);
        BarRow row;
        engine::OpenBars::open_rows(
            slot.aggregator, scratch_,
            engine::RowSink<OpenRows>(slot, core_->now().outputs, {this, &row}));
    }
    for (std::size_t i = 0; i < bars_.size(); ++i) publish_bars(i, EngineFeed::OPEN_BARS);
    return sweeping_;
}

EngineFeed::EngineFeed(const Folder& folder, EngineFeedOptions options)
    : options_(std::move(options)) {
    if (options_.publishers < 1 || options_.publishers > static_cast<int>(PUBLISHERS_MAX) ||
        options_.open_interval_ns < 0) {
        throw Error(ErrorCode::invalid_option,
                    "an engine has 1 to " + std::to_string(PUBLISHERS_MAX) +
                        " publishers, and tells of open bars at an interval of 0 or more");
    }
    of_[TRADES] = publishers_of(folder, options_.trades, "TradeEvent");
    of_[BARS] = publishers_of(folder, options_.bars, "Bar");
    of_[OPEN_BARS] = publishers_of(folder, options_.open_bars, "Bar");
}

EngineFeed::~EngineFeed() = default;

EngineFeed::Publishers* EngineFeed::publishers_of(const Folder& folder, const std::string& topic,
                                                  const char* type) {
    if (topic.empty()) return nullptr;
    const auto [place, is_new] = topics_.try_emplace(topic);
    if (!is_new && place->second.front()->publisher().type().name() != type)
        throw Error(ErrorCode::invalid_option, "trades and bars cannot share the topic " + topic);
    PublisherOptions options;
    options.ring_bytes = options_.ring_bytes;
    // Open bars are states: who comes again asks for the next one, not for those that were.
    const bool is_logged = topic == options_.trades || topic == options_.bars;
    const std::string root = is_logged ? options_.log_root : std::string();
    for (int i = 0; is_new && i < options_.publishers; ++i) {
        const std::string name =
            options_.publishers == 1 ? options_.name : options_.name + "-" + std::to_string(i);
        place->second.push_back(std::make_unique<FeedOutlet>(
            folder, topic, name, builtin_type(type), options, root, options_.log));
    }
    return &place->second;
}

std::unique_ptr<engine::WorkerObserver> EngineFeed::worker(const engine::Core& core,
                                                           std::uint32_t /*id*/) {
    return std::make_unique<EngineFeedWorker>(*this, core);
}

EngineFeedCounts EngineFeed::counts() const noexcept {
    const auto read = [](const auto& counter) { return counter.load(std::memory_order_relaxed); };
    return {read(sent_[TRADES]), read(sent_[BARS]), read(sent_[OPEN_BARS]), read(unnamed_)};
}

std::map<std::string, std::uint64_t> EngineFeed::next_sequences() const {
    std::map<std::string, std::uint64_t> next;
    for (const auto& [topic, publishers] : topics_) {
        for (const auto& each : publishers) {
            const Publisher& publisher = each->publisher();
            next[std::string(topic).append("@").append(publisher.name())] =
                publisher.next_sequence();
        }
    }
    return next;
}

void EngineFeed::stopped() noexcept {
    for (auto& [topic, publishers] : topics_) {
        for (auto& each : publishers) each->close();
    }
}

}  // namespace klineagg::bus
