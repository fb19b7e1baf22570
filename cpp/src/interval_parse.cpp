// The text form of an interval.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "klineagg/detail/printable.hpp"
#include "klineagg/error.hpp"
#include "klineagg/interval.hpp"

namespace klineagg {
namespace {

struct Unit {
    char letter;
    DurationNs duration_ns;  // 0: calendar months
};

constexpr std::array<Unit, 6> UNITS{{{'M', 0},
                                     {'w', 7 * NS_PER_DAY},
                                     {'d', NS_PER_DAY},
                                     {'h', NS_PER_HOUR},
                                     {'m', NS_PER_MINUTE},
                                     {'s', NS_PER_SECOND}}};

// Monday 1970-01-05: the epoch is a Thursday.
constexpr DurationNs WEEK_PHASE = 4 * NS_PER_DAY;
// 10000 days in seconds; anything larger is refused before it can overflow a product.
constexpr std::int64_t NUMBER_MAX = INTERVAL_PERIOD_MAX / NS_PER_SECOND;

struct Amount {
    std::int64_t months = 0;
    DurationNs duration_ns = 0;
};

class Parser {
public:
    explicit Parser(std::string_view text) : text_(text) {}

    Interval parse() {
        if (text_.size() > INTERVAL_NAME_MAX) refuse(INTERVAL_NAME_MAX, "longer than 64 bytes");
        const std::size_t start = skip_spaces();
        const std::size_t unit = read_term(period_, 0);
        if (period_.months == 0 && period_.duration_ns == 0) refuse(start, "the period is zero");
        check_limits(start);
        skip_spaces();
        const std::size_t sign_position = position_;
        if (!at_end()) read_offset();
        if (period_.months > 0) {
            check_month_offset(sign_position);
            return Interval::months(name_, period_.months, offset_.duration_ns, offset_.months);
        }
        check_fixed_offset(sign_position);
        const DurationNs week = UNITS[unit].letter == 'w' ? WEEK_PHASE : 0;
        return Interval::fixed(name_, period_.duration_ns, week + offset_.duration_ns);
    }

private:
    [[noreturn]] void refuse(std::size_t position, const std::string& reason) const {
        const std::string shown = detail::printable(text_, INTERVAL_NAME_MAX);
        throw Error(ErrorCode::invalid_interval,
                    "'" + shown + "' is not an interval: " + reason + " at position " +
                        std::to_string(position),
                    {{"text", shown}, {"position", std::to_string(position)}, {"reason", reason}});
    }

    [[nodiscard]] bool at_end() const { return position_ == text_.size(); }
    [[nodiscard]] bool at_digit() const {
        return !at_end() && text_[position_] >= '0' && text_[position_] <= '9';
    }

    std::size_t skip_spaces() {
        while (!at_end() && text_[position_] == ' ') ++position_;
        return position_;
    }

    std::int64_t read_number() {
        const std::size_t start = skip_spaces();
        std::int64_t number = 0;
        for (; at_digit(); ++position_) {
            number = (number * 10) + (text_[position_] - '0');
            if (number > NUMBER_MAX) refuse(start, "the number is too large");
        }
        if (position_ == start) refuse(start, "expected a number");
        return number;
    }

    /// Adds `<n><unit>` to `amount`, with a unit no coarser than UNITS[coarsest]; returns the
    /// index of the unit.
    std::size_t read_term(Amount& amount, std::size_t coarsest) {
        const std::size_t start = skip_spaces();
        const std::int64_t number = read_number();
        skip_spaces();
        const std::size_t unit = read_unit();
        if (unit < coarsest) refuse(start, "larger units come first, each once");
        const DurationNs duration = UNITS[unit].duration_ns;
        if (duration == 0) {
            amount.months += number;
        } else if (number > (INTERVAL_PERIOD_MAX - amount.duration_ns) / duration) {
            refuse(start, "longer than 10000d");
        } else {
            amount.duration_ns += number * duration;
        }
        if (number != 0) name_ += std::to_string(number) + UNITS[unit].letter;
        return unit;
    }

    std::size_t read_unit() {
        for (std::size_t unit = 0; unit < UNITS.size() && !at_end(); ++unit) {
            if (text_[position_] == UNITS[unit].letter) {
                ++position_;
                return unit;
            }
        }
        refuse(position_, "expected one of the units s m h d w M");
    }

    void read_offset() {
        const char sign = text_[position_];
        if (sign != '+' && sign != '-') refuse(position_, "expected '+', '-' or the end");
        ++position_;
        const std::string period_name = name_;
        name_ += sign;
        std::size_t coarsest = 0;
        do {
            coarsest = read_term(offset_, coarsest) + 1;
            skip_spaces();
        } while (at_digit());
        if (!at_end()) refuse(position_, "expected the end");
        if (offset_.months == 0 && offset_.duration_ns == 0) name_ = period_name;
        if (sign == '-') offset_ = {-offset_.months, -offset_.duration_ns};
    }

    void check_limits(std::size_t start) const {
        if (period_.months > INTERVAL_MONTHS_MAX) refuse(start, "longer than 300M");
    }

    void check_month_offset(std::size_t sign_position) const {
        const auto [months, duration] = offset_;
        if (months <= -period_.months || months >= period_.months) {
            if (months != 0) refuse(sign_position, "the offset is not less than the period");
        }
        if (duration <= -INTERVAL_MONTH_PHASE_MAX || duration >= INTERVAL_MONTH_PHASE_MAX) {
            refuse(sign_position, "the offset within the month is not less than 28d");
        }
    }

    void check_fixed_offset(std::size_t sign_position) const {
        if (offset_.months != 0) refuse(sign_position, "months can only shift months");
        if (offset_.duration_ns <= -period_.duration_ns ||
            offset_.duration_ns >= period_.duration_ns) {
            refuse(sign_position, "the offset is not less than the period");
        }
    }

    std::string_view text_;
    std::size_t position_ = 0;
    std::string name_;
    Amount period_;
    Amount offset_;
};

}  // namespace

Interval Interval::parse(std::string_view text) {
    return Parser{text}.parse();
}

}  // namespace klineagg
