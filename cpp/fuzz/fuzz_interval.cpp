// Any bytes as the text of an interval, or as a table of sessions: refused with a typed error,
// or an interval whose lookups agree with one another.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "klineagg/error.hpp"
#include "klineagg/interval.hpp"

using namespace klineagg;

namespace {

void require(bool truth) {
    if (!truth) std::abort();
}

class Bytes {
public:
    Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

    std::int64_t number(std::size_t width) {
        std::int64_t value = 0;
        const std::size_t taken = width < size_ ? width : size_;
        if (taken > 0) std::memcpy(&value, data_, taken);
        data_ += taken;
        size_ -= taken;
        return value;
    }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::string_view rest() const {
        return {reinterpret_cast<const char*>(data_), size_};
    }

private:
    const std::uint8_t* data_;
    std::size_t size_;
};

std::optional<Interval> make_table(Bytes bytes) {
    std::vector<Span> spans;
    std::int64_t time = bytes.number(8);
    while (bytes.size() > 0) {
        // Mostly small steps on whole seconds; the first number of a row breaks every rule.
        const std::int64_t step = bytes.number(2);
        const std::int64_t open =
            step == 0xffff
                ? bytes.number(8)
                : static_cast<std::int64_t>(static_cast<std::uint64_t>(time) +
                                            static_cast<std::uint64_t>(step * NS_PER_SECOND));
        const std::int64_t length = bytes.number(3) * NS_PER_SECOND;
        const std::int64_t close = static_cast<std::int64_t>(static_cast<std::uint64_t>(open) +
                                                             static_cast<std::uint64_t>(length));
        spans.push_back({open, close});
        time = close;
    }
    try {
        return Interval::table("fuzz", spans);
    } catch (const Error& error) {
        require(error.code() == ErrorCode::invalid_session_table);
        return std::nullopt;
    }
}

std::optional<Interval> make_text(std::string_view text) {
    try {
        const Interval interval = Interval::parse(text);
        require(Interval::parse(interval.name()) == interval);
        require(interval.name().size() <= INTERVAL_NAME_MAX);
        return interval;
    } catch (const Error& error) {
        require(error.code() == ErrorCode::invalid_interval);
        return std::nullopt;
    }
}

void check(const Interval& interval, TimeNs time) {
    Span span;
    const bool inside = interval.locate(time, span);
    require(span.open <= time && (time < span.close || time == TIME_MAX));
    const Interval::Grid grid = interval.grid();
    require(grid.period >= NS_PER_SECOND && grid.phase >= 0 && grid.phase < grid.period);
    if (inside) {
        require(floor_to(span.open, grid.period, grid.phase) == span.open);
        require(floor_to(span.close, grid.period, grid.phase) == span.close);
        require(interval.next(span.open) == span);
        require(interval.count(span.open, span.close) == 1);
        Span again;
        require(interval.locate(span.close - 1, again) && again == span);
    } else {
        require(interval.count(span.open, span.close) == 0);
    }
    const Span next = interval.next(time);
    require(next.open >= time);
    require(interval.count(time, next.open) == 0);
    require(interval.same_spans(interval));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Bytes bytes(data, size);
    const bool as_table = (bytes.number(1) & 1) != 0;
    const std::int64_t raw = bytes.number(8);
    const auto range = static_cast<std::uint64_t>(TIME_MAX) - static_cast<std::uint64_t>(TIME_MIN);
    const auto time = static_cast<TimeNs>(static_cast<std::uint64_t>(TIME_MIN) +
                                          static_cast<std::uint64_t>(raw) % (range + 1));
    const std::optional<Interval> interval = as_table ? make_table(bytes) : make_text(bytes.rest());
    if (!interval) return 0;
    check(*interval, time);
    check(*interval, TIME_MIN);
    check(*interval, TIME_MAX);
    for (const Span& span : interval->spans()) {
        check(*interval, span.open);
        check(*interval, span.close);
    }
    return 0;
}
