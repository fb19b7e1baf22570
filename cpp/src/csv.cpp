#include "klineagg/csv.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "klineagg/detail/csv_text.hpp"
#include "klineagg/detail/printable.hpp"
#include "klineagg/error.hpp"

namespace klineagg {

using detail::between;
using detail::find_byte;

namespace {

constexpr std::string_view BYTE_ORDER_MARK = "\xEF\xBB\xBF";
constexpr std::size_t EXCERPT_BYTES_MAX = 60;

template <class T>
void grow_used(CsvBuffer<T>& buffer, bool used, std::size_t size, std::size_t capacity) {
    if (used) buffer.grow(size, capacity);
}

}  // namespace

std::uint64_t CsvBatch::line_of(std::size_t row) const noexcept {
    std::uint64_t line = first_line + row;
    for (const CsvLineStep& step : steps) {
        if (step.row > row) break;
        line += step.skipped;
    }
    return line;
}

CsvParser::CsvParser(CsvOptions options)
    : options_(std::move(options)),
      plan_(csv_plan(options_)),
      header_pending_(options_.header) {}

// ---- cutting the stream into records ------------------------------------------------------

std::string_view CsvParser::without_mark(std::string_view bytes) {
    while (mark_bytes_ < BYTE_ORDER_MARK.size() && !bytes.empty()) {
        if (bytes.front() != BYTE_ORDER_MARK[mark_bytes_]) {
            // What looked like a mark is the begin of the first record.
            carry_.append(BYTE_ORDER_MARK, 0, mark_bytes_);
            mark_bytes_ = BYTE_ORDER_MARK.size();
            break;
        }
        ++mark_bytes_;
        bytes.remove_prefix(1);
    }
    return bytes;
}

void CsvParser::feed(std::string_view bytes) {
    if (failed_) csv_refuse_options("the parser was used again after an error");
    failed_ = true;  // until this call is through
    bytes = without_mark(bytes);
    if (!carry_.empty()) {
        // Complete the record at the joint in a copy that is as long as a record may be; all
        // others are read where they lie.
        const std::size_t old = carry_.size();
        const std::size_t taken = std::min(bytes.size(), options_.line_bytes_max + 1);
        carry_.append(bytes.substr(0, taken));
        const char* const begin = carry_.data();
        const char* const rest = consume(begin, begin + old, begin + carry_.size(), false);
        const auto used = static_cast<std::size_t>(rest - begin);
        if (used < old) {
            carry_.erase(0, used);
            failed_ = false;
            return;
        }
        bytes.remove_prefix(used - old);
        carry_.clear();
    }
    if (!bytes.empty()) {
        const char* const end = bytes.data() + bytes.size();
        const char* const rest = consume(bytes.data(), end, end, false);
        carry_.assign(rest, end);
    }
    failed_ = false;
}

void CsvParser::finish() {
    if (failed_) csv_refuse_options("the parser was used again after an error");
    if (mark_bytes_ < BYTE_ORDER_MARK.size()) {
        carry_.append(BYTE_ORDER_MARK, 0, mark_bytes_);
        mark_bytes_ = BYTE_ORDER_MARK.size();
    }
    failed_ = true;
    const std::string last = std::move(carry_);
    carry_.clear();
    consume(last.data(), last.data() + last.size(), last.data() + last.size(), true);
    failed_ = false;
}

/// Reads the records that begin in [begin, until) and end before `end`; returns where the next
/// one begins.
const char* CsvParser::consume(const char* begin, const char* until, const char* end, bool final) {
    const char* at = begin;
    while (at < until) {
        if (skipping_) {
            const char* line_end = find_byte(at, end, '\n');
            if (line_end == nullptr) return end;
            at = line_end + 1;
            ++line_;
            skipping_ = false;
            continue;
        }
        if (record(at, end, final) == Outcome::incomplete) break;
    }
    return at;
}

/// Reads the record at `at` and moves `at` to the next one.
CsvParser::Outcome CsvParser::record(const char*& at, const char* end, bool final) {
    const char* const begin = at;
    // A line end is looked for no further than a record may reach, so that what is found does
    // not depend on how much of the file is at hand.
    const auto rest = static_cast<std::size_t>(end - begin);
    const bool whole = rest > options_.line_bytes_max;
    const char* const window = whole ? begin + options_.line_bytes_max + 1 : end;
    const char* line_end = find_byte(begin, window, '\n');
    if (line_end == nullptr) {
        if (whole) {
            refuse(CsvFault::line_too_long, SKIP, between(begin, window));
            skipping_ = true;
            at = window;
            return Outcome::done;
        }
        if (!final) return Outcome::incomplete;
        line_end = end;
    }
    const char* record_end = line_end;
    if (record_end != begin && record_end[-1] == '\r') --record_end;
    const char* const next = line_end == end ? end : line_end + 1;
    if (record_end == begin) {
        at = next;
        ++line_;
        return Outcome::done;
    }
    bool quoted = header_pending_;
    bool good = !header_pending_ && fields_fast(begin, record_end, quoted);
    if (quoted) return quoted_record(at, end, final);
    if (good) commit();
    at = next;
    ++line_;
    return Outcome::done;
}

/// Reads a record with quotes, whose line ends may belong to a field.
CsvParser::Outcome CsvParser::quoted_record(const char*& at, const char* end, bool final) {
    const char* const begin = at;
    const bool whole = static_cast<std::size_t>(end - begin) > options_.line_bytes_max;
    const char* const window = whole ? begin + options_.line_bytes_max + 1 : end;
    // A quote opens at the start of a field only; behind a closing one it stands for itself and
    // the field goes on.
    enum class State : std::uint8_t { start, inside, closed, outside };
    State state = State::start;
    std::uint64_t lines = 1;
    const char* p = begin;
    for (; p != window; ++p) {
        if (state == State::inside) {
            if (*p == '"') state = State::closed;
            if (*p == '\n') ++lines;
        } else if (*p == '"' && state != State::outside) {
            state = State::inside;
        } else if (*p == '\n') {
            break;
        } else if (*p == options_.delimiter) {
            state = State::start;
        } else if (*p != ' ' || state != State::start) {
            state = State::outside;
        }
    }
    const bool inside = state == State::inside;
    if (p == window && (whole || inside)) {
        if (!whole && !final) return Outcome::incomplete;
        // Its line alone is taken for the bad record, so that a stray quote costs one row.
        refuse(inside ? CsvFault::quoting : CsvFault::line_too_long, SKIP, between(begin, window));
        const char* const line_end = find_byte(begin, window, '\n');
        skipping_ = line_end == nullptr && whole;
        at = line_end == nullptr ? window : line_end + 1;
        if (!skipping_) ++line_;
        header_pending_ = false;
        return Outcome::done;
    }
    if (p == window && !final) return Outcome::incomplete;
    const char* const record_end = p != begin && p[-1] == '\r' ? p - 1 : p;
    if (fields_split(begin, record_end)) {
        if (header_pending_) {
            if (fields_.size() != options_.field_count) {
                refuse(CsvFault::field_count, SKIP, between(begin, record_end));
            }
        } else if (store(fields_, begin, record_end)) {
            commit();
        }
    }
    header_pending_ = false;
    at = p == window ? p : p + 1;
    line_ += lines;
    return Outcome::done;
}

// ---- rows and faults ----------------------------------------------------------------------

void CsvParser::commit() {
    if (batch_.rows == 0) {
        batch_.first_line = line_;
    } else if (line_ != line_next_) {
        batch_.steps.push_back({batch_.rows, line_ - line_next_});
    }
    line_next_ = line_ + 1;
    ++batch_.rows;
    ++rows_total_;
}

void CsvParser::grow() {
    const std::size_t larger = std::max(capacity_next_, capacity_ * 2);
    std::array<bool, CSV_ROLE_COUNT> used{};
    for (const std::uint8_t role : plan_) {
        if (role != SKIP) used[role] = true;
    }
    const auto wants = [&used](CsvRole role) { return used[static_cast<std::size_t>(role)]; };
    grow_used(batch_.time, wants(CsvRole::time), batch_.rows, larger);
    grow_used(batch_.price, wants(CsvRole::price), batch_.rows, larger);
    grow_used(batch_.quantity, wants(CsvRole::quantity), batch_.rows, larger);
    grow_used(batch_.side, wants(CsvRole::side), batch_.rows, larger);
    grow_used(batch_.trade_id, wants(CsvRole::trade_id), batch_.rows, larger);
    grow_used(batch_.last_trade_id, wants(CsvRole::last_trade_id), batch_.rows, larger);
    grow_used(batch_.symbol, wants(CsvRole::symbol), batch_.rows, larger);
    grow_used(batch_.flags, wants(CsvRole::flags), batch_.rows, larger);
    grow_used(batch_.conditions, wants(CsvRole::conditions), batch_.rows, larger);
    capacity_ = larger;
}

CsvBatch CsvParser::take() {
    CsvBatch taken = std::move(batch_);
    batch_ = CsvBatch{};
    // The next batch is about as large; a little room saves it from growing at its end.
    capacity_next_ = std::max<std::size_t>(1024, taken.rows + taken.rows / 8);
    capacity_ = 0;
    return taken;
}

/// Counts or throws; always false.
bool CsvParser::refuse(CsvFault fault, std::uint8_t role, std::string_view excerpt) {
    CsvFaultSample sample{fault, line_, "", detail::printable(excerpt, EXCERPT_BYTES_MAX)};
    if (role != SKIP) sample.column = csv_role_name(static_cast<CsvRole>(role));
    if (!options_.count_faults) {
        const std::string place = "line " + std::to_string(line_) + ": ";
        const std::string what = sample.column.empty() ? "" : sample.column + " ";
        throw Error(ErrorCode::csv_row,
                    place + what + "'" + sample.excerpt + "': " + std::string(csv_fault_text(fault)),
                    {{"row", std::to_string(line_)},
                     {"column", sample.column},
                     {"reason", std::string(csv_fault_name(fault))},
                     {"excerpt", sample.excerpt}});
    }
    ++fault_counts_[static_cast<std::size_t>(fault)];
    if (samples_.size() < CSV_SAMPLES_MAX) samples_.push_back(std::move(sample));
    return false;
}

}  // namespace klineagg
