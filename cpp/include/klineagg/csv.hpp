// Trade dumps as text: bytes in, columns out, the same for every way of cutting the bytes.
//
// Records follow RFC 4180 (quoted fields may hold delimiters, quotes and line ends); lines end in
// LF or CRLF, the last one may lack its end; empty lines and a UTF-8 byte order mark are skipped;
// spaces around an unquoted field do not count.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "klineagg/detail/csv_fields.hpp"
#include "klineagg/detail/csv_time.hpp"
#include "klineagg/time.hpp"

namespace klineagg {

inline constexpr std::size_t CSV_LINE_BYTES_MAX = std::size_t{1} << 16U;
// A mapping of the wrong column to `symbol` or `conditions` must not fill the memory with texts.
inline constexpr std::size_t CSV_TEXTS_MAX = std::size_t{1} << 20U;
inline constexpr std::size_t CSV_FIELDS_MAX = 4096;
inline constexpr std::size_t CSV_SAMPLES_MAX = 8;

enum class CsvRole : std::uint8_t {
    time, price, quantity, side, trade_id, last_trade_id, symbol, flags, conditions,
};
inline constexpr std::size_t CSV_ROLE_COUNT = 9;

enum class CsvFault : std::uint8_t {
    field_count,            // more or fewer fields than the first record
    quoting,                // a quote that never closes, or text behind a closing quote
    line_too_long,
    time_unreadable,
    time_out_of_range,      // outside int64 nanoseconds
    price_unreadable,
    price_out_of_range,     // outside the range of a double
    quantity_unreadable,
    quantity_out_of_range,
    side_unreadable,
    id_unreadable,
    symbol_missing,
    symbol_too_long,        // longer than the table of symbols takes
    flags_unreadable,
    conditions_too_long,
};
inline constexpr std::size_t CSV_FAULT_COUNT = 15;

std::string_view csv_role_name(CsvRole role) noexcept;
std::string_view csv_fault_name(CsvFault fault) noexcept;
std::string_view csv_fault_text(CsvFault fault) noexcept;  // for people

struct CsvColumn {
    std::size_t index = 0;  // of the field in its record, from 0
    CsvRole role = CsvRole::time;
};

struct CsvOptions {
    std::vector<CsvColumn> columns;  // time, price and quantity at least; each index and role once
    std::size_t field_count = 0;     // of every record
    char delimiter = ',';            // ',', ';', tab, '|' or space
    bool header = false;             // the first record holds names
    CsvTimeUnit unit = CsvTimeUnit::detect;
    CsvSideRule side = CsvSideRule::taker;
    bool count_faults = false;       // skip and count bad records instead of throwing
    std::size_t line_bytes_max = CSV_LINE_BYTES_MAX;
};

inline constexpr std::uint8_t CSV_SKIP = 0xff;  // a field that is not read

/// The role of each field up to the last one that is read, or CSV_SKIP.
/// Throws Error(invalid_option) for options that contradict each other.
std::vector<std::uint8_t> csv_plan(const CsvOptions& options);
[[noreturn]] void csv_refuse_options(const std::string& reason);

/// A growing array whose new part is not written before it is used.
template <class T>
class CsvBuffer {
public:
    void grow(std::size_t used, std::size_t capacity) {
        auto larger = std::make_unique_for_overwrite<T[]>(capacity);
        for (std::size_t i = 0; i < used; ++i) larger[i] = data_[i];
        data_ = std::move(larger);
    }
    T& operator[](std::size_t index) noexcept { return data_[index]; }
    const T& operator[](std::size_t index) const noexcept { return data_[index]; }
    [[nodiscard]] bool empty() const noexcept { return data_ == nullptr; }
    std::unique_ptr<T[]> release() noexcept { return std::move(data_); }

private:
    std::unique_ptr<T[]> data_;
};

/// The distinct texts of a column and their codes, dense from 0.
class CsvTexts {
public:
    /// The code of a text, a new one at the end; -1 when there are CSV_TEXTS_MAX others.
    std::int32_t code_of(std::string_view text);
    [[nodiscard]] const std::vector<std::string>& all() const noexcept { return texts_; }

private:
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const noexcept {
            return std::hash<std::string_view>{}(text);
        }
    };
    std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> codes_;
    std::vector<std::string> texts_;
    std::int32_t last_ = -1;  // most rows have the text of the one before
};

/// Where the numbering of lines departs from that of rows: rows from `row` on lie `skipped`
/// lines further down than the rows before them.
struct CsvLineStep {
    std::size_t row;
    std::uint64_t skipped;
};

/// Rows that were read since the last take(). Columns that were not asked for are empty.
struct CsvBatch {
    std::size_t rows = 0;
    CsvBuffer<TimeNs> time;
    CsvBuffer<double> price;
    CsvBuffer<double> quantity;
    CsvBuffer<std::int8_t> side;            // +1 the taker bought, -1 sold, 0 unknown
    CsvBuffer<std::int64_t> trade_id;       // -1: none
    CsvBuffer<std::int64_t> last_trade_id;  // -1: none
    CsvBuffer<std::int32_t> symbol;         // index into CsvParser::symbols()
    CsvBuffer<std::uint8_t> flags;
    CsvBuffer<std::int32_t> conditions;     // index into CsvParser::conditions()
    std::uint64_t first_line = 0;           // line of row 0, from 1
    std::vector<CsvLineStep> steps;

    /// The line of the file on which the record of `row` begins, from 1.
    [[nodiscard]] std::uint64_t line_of(std::size_t row) const noexcept;
};

struct CsvFaultSample {
    CsvFault fault = CsvFault::field_count;
    std::uint64_t line = 0;
    std::string column;   // name of the role; empty when the whole record is at fault
    std::string excerpt;  // printable, shortened
};

/// Reads one stream. feed() in pieces of any size, finish() at the end, take() the rows at any time.
class CsvParser {
public:
    /// Throws Error(invalid_option) for options that contradict each other.
    explicit CsvParser(CsvOptions options);

    /// Throws Error(csv_row) with the fields row (its line), column, reason and excerpt, unless
    /// faults are counted. After that the rows before it can be taken, and nothing more be fed.
    void feed(std::string_view bytes);
    void finish();
    CsvBatch take();

    [[nodiscard]] const std::vector<std::string>& symbols() const noexcept {
        return symbols_.all();
    }
    [[nodiscard]] const std::vector<std::string>& conditions() const noexcept {
        return conditions_.all();
    }
    [[nodiscard]] std::uint64_t rows() const noexcept { return rows_total_; }
    [[nodiscard]] std::uint64_t faults(CsvFault fault) const noexcept {
        return fault_counts_[static_cast<std::size_t>(fault)];
    }
    /// The first few of them.
    [[nodiscard]] const std::vector<CsvFaultSample>& samples() const noexcept { return samples_; }

private:
    enum class Outcome : std::uint8_t { done, incomplete };
    static constexpr std::uint8_t SKIP = CSV_SKIP;

    const char* consume(const char* begin, const char* until, const char* end, bool final);
    Outcome record(const char*& at, const char* end, bool final);
    Outcome quoted_record(const char*& at, const char* end, bool final);
    bool fields_fast(const char* begin, const char* end, bool& quoted);
    bool fields_split(const char* begin, const char* end);
    bool store(const std::vector<std::string_view>& fields, const char* begin, const char* end);
    const char* read(std::uint8_t role, const char* at, const char* end, int stop);
    const char* read_text(CsvRole role, const char* at, const char* end, int stop);
    void commit();
    void grow();
    bool refuse(CsvFault fault, std::uint8_t role, std::string_view excerpt);
    std::string_view without_mark(std::string_view bytes);

    CsvOptions options_;
    std::vector<std::uint8_t> plan_;
    CsvBatch batch_;
    std::size_t capacity_ = 0;
    std::size_t capacity_next_ = 1024;
    std::uint64_t rows_total_ = 0;
    std::uint64_t line_ = 1;       // of the record that is read next
    std::uint64_t line_next_ = 0;  // of the next row, if no line is skipped before it
    std::string carry_;            // a record whose end has not come yet
    std::string scratch_;          // unescaped fields
    std::vector<std::string_view> fields_;
    std::size_t mark_bytes_ = 0;   // matched bytes of a byte order mark; 3: past it
    bool header_pending_ = false;
    bool skipping_ = false;        // inside a line that is too long
    bool failed_ = false;
    CsvFault field_fault_ = CsvFault::field_count;  // set by read() when it returns null

    CsvTexts symbols_;
    CsvTexts conditions_;
    std::array<std::uint64_t, CSV_FAULT_COUNT> fault_counts_{};
    std::vector<CsvFaultSample> samples_;
};

}  // namespace klineagg
