#include "klineagg/csv.hpp"

#include <clocale>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "catch.hpp"
#include "klineagg/detail/csv_text.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;

namespace {

struct Row {
    TimeNs time;
    double price;
    double quantity;
    int side;
    std::int64_t id;
    std::string symbol;
    std::uint64_t line;
    friend bool operator==(const Row&, const Row&) = default;
};

// symbol,id,time,price,quantity,side,ignored
CsvOptions all_columns() {
    CsvOptions options;
    options.columns = {{0, CsvRole::symbol}, {1, CsvRole::trade_id}, {2, CsvRole::time},
                       {3, CsvRole::price},  {4, CsvRole::quantity}, {5, CsvRole::side}};
    options.field_count = 7;
    options.unit = CsvTimeUnit::milliseconds;
    return options;
}

CsvOptions three_columns(CsvTimeUnit unit = CsvTimeUnit::detect) {
    CsvOptions options;
    options.columns = {{0, CsvRole::time}, {1, CsvRole::price}, {2, CsvRole::quantity}};
    options.field_count = 3;
    options.unit = unit;
    return options;
}

void collect(CsvParser& parser, std::vector<Row>& rows) {
    const CsvBatch batch = parser.take();
    for (std::size_t i = 0; i < batch.rows; ++i) {
        const bool symbols = !batch.symbol.empty();
        rows.push_back({batch.time[i], batch.price[i], batch.quantity[i],
                        batch.side.empty() ? 0 : int{batch.side[i]},
                        batch.trade_id.empty() ? -1 : batch.trade_id[i],
                        symbols ? parser.symbols()[static_cast<std::size_t>(batch.symbol[i])] : "",
                        batch.line_of(i)});
    }
}

struct Outcome {
    std::vector<Row> rows;
    std::vector<std::uint64_t> faults;
    std::vector<std::tuple<CsvFault, std::uint64_t, std::string>> samples;
    friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Reads `text` in pieces of `step` bytes.
Outcome read_all(const CsvOptions& options, std::string_view text, std::size_t step,
                 bool take_each = false) {
    CsvParser parser(options);
    Outcome outcome;
    for (std::size_t at = 0; at < text.size(); at += step) {
        // A copy of its own, so that reading beyond the piece is seen by the sanitizers.
        const std::string piece(text.substr(at, step));
        parser.feed(piece);
        if (take_each) collect(parser, outcome.rows);
    }
    parser.finish();
    collect(parser, outcome.rows);
    for (std::size_t i = 0; i < CSV_FAULT_COUNT; ++i) {
        outcome.faults.push_back(parser.faults(static_cast<CsvFault>(i)));
    }
    for (const CsvFaultSample& sample : parser.samples()) {
        outcome.samples.emplace_back(sample.fault, sample.line, sample.excerpt);
    }
    return outcome;
}

std::vector<Row> rows_of(const CsvOptions& options, std::string_view text) {
    const Outcome whole = read_all(options, text, text.size() + 1);
    for (const std::size_t step : {1U, 2U, 3U, 7U, 64U}) {
        REQUIRE(read_all(options, text, step) == whole);
        REQUIRE(read_all(options, text, step, true) == whole);
    }
    return whole.rows;
}

Error error_of(const CsvOptions& options, std::string_view text) {
    std::optional<Error> found;
    for (const std::size_t step : {std::size_t{1}, std::size_t{5}, text.size() + 1}) {
        try {
            static_cast<void>(read_all(options, text, step));
        } catch (const Error& error) {
            if (found) REQUIRE(std::string(found->what()) == error.what());
            found = error;
        }
    }
    REQUIRE(found);
    return *found;
}

std::string field_of(const Error& error, const std::string& key) {
    for (const auto& [name, value] : error.fields()) {
        if (name == key) return value;
    }
    return "<none>";
}

double number(std::string_view text) {
    double value = 0;
    bool overflow = false;
    const char* const end = text.data() + text.size();
    REQUIRE(detail::read_double(text.data(), end, value, overflow) == end);
    return value;
}

std::optional<TimeNs> stamp(std::string_view text, CsvTimeUnit unit = CsvTimeUnit::detect) {
    TimeNs value = 0;
    bool overflow = false;
    const char* const end = text.data() + text.size();
    const char* const stop = detail::read_time(text.data(), end, detail::NO_STOP, unit, value,
                                               overflow);
    if (stop != end) return std::nullopt;
    return value;
}

}  // namespace

TEST_CASE("rows of a plain dump", "[csv]") {
    const auto rows = rows_of(all_columns(),
                              "BTCUSDT,17,1616663618123,52000.10,0.25,buy,x\n"
                              "ETHUSDT,,1616663618124,1.5e3,3,SELL,\n");
    REQUIRE(rows == std::vector<Row>{
                        {1616663618123000000, 52000.10, 0.25, 1, 17, "BTCUSDT", 1},
                        {1616663618124000000, 1500.0, 3.0, -1, -1, "ETHUSDT", 2}});
}

TEST_CASE("line ends, empty lines, a byte order mark and spaces make no difference", "[csv]") {
    const std::string text = GENERATE(
        std::string("1,2,3\n4,5,6\n"), std::string("1,2,3\r\n4,5,6\r\n"), std::string("1,2,3\n4,5,6"),
        std::string("\xEF\xBB\xBF" "1,2,3\n4,5,6"), std::string(" 1 , 2,3 \n4, 5 ,6\r\n"),
        std::string("\"1\",\"2\",\"3\"\n\"4\",5,\"6\""), std::string(" \"1\" ,2,3\n4,5,6\n"));
    const auto rows = rows_of(three_columns(CsvTimeUnit::nanoseconds), text);
    REQUIRE(rows == std::vector<Row>{{1, 2, 3, 0, -1, "", 1}, {4, 5, 6, 0, -1, "", 2}});
}

TEST_CASE("row numbers are lines of the file", "[csv]") {
    CsvOptions options = all_columns();
    options.header = true;
    options.count_faults = true;
    const Outcome outcome = read_all(options,
                                     "symbol,id,\"ti\nme\",price,qty,side,note\n"  // lines 1, 2
                                     "\n"
                                     "A,1,1,1,1,b,\n"                   // line 4
                                     "\r\n\r\n"
                                     "A,2,1,oops,1,b,\n"                // line 7
                                     "A,3,1,1,1,b,\"two\nlines\"\n"     // lines 8, 9
                                     "A,4,1,1,1,b,\n"                   // line 10
                                     "A,5,1,1,1,b,",                    // line 11
                                     1000);
    std::vector<std::uint64_t> lines;
    for (const Row& row : outcome.rows) lines.push_back(row.line);
    REQUIRE(lines == std::vector<std::uint64_t>{4, 8, 10, 11});
    REQUIRE(outcome.samples ==
            decltype(outcome.samples){{CsvFault::price_unreadable, 7, "oops"}});
}

TEST_CASE("quoted fields hold delimiters, quotes and line ends", "[csv]") {
    const auto rows = rows_of(all_columns(),
                              "\"A,\"\"B\"\"\n\",1,1,\"2\",3,buy,\"a\n\n,b\"\n"
                              "C,2,1,2,3,sell,\"\"\n");
    REQUIRE(rows.size() == 2);
    REQUIRE(rows[0] == Row{1000000, 2, 3, 1, 1, "A,\"B\"\n", 1});
    REQUIRE(rows[1] == Row{1000000, 2, 3, -1, 2, "C", 5});
}

TEST_CASE("a quote inside an unquoted field is a letter", "[csv]") {
    const auto rows = rows_of(all_columns(), "5\"\"wide,1,1,2,3,buy,a \"b\"\nB,2,1,2,3,buy,\n");
    REQUIRE(rows.size() == 2);
    REQUIRE(rows[0].symbol == "5\"\"wide");
}

TEST_CASE("other delimiters", "[csv]") {
    CsvOptions options = three_columns(CsvTimeUnit::nanoseconds);
    options.delimiter = GENERATE(',', ';', '\t', '|', ' ');
    std::string text = "1,2,3\n4,5,6\n";
    for (char& letter : text) {
        if (letter == ',') letter = options.delimiter;
    }
    REQUIRE(rows_of(options, text).size() == 2);
}

TEST_CASE("faults name their line, column, reason and text", "[csv]") {
    struct Case {
        std::string text;
        std::string column;
        std::string reason;
        std::string excerpt;
    };
    const Case c = GENERATE(values<Case>({
        {"A,1,1,2x,3,b,", "price", "price_unreadable", "2x"},
        {"A,1,1,,3,b,", "price", "price_unreadable", ""},
        {"A,1,1,0x10,3,b,", "price", "price_unreadable", "0x10"},
        {"A,1,1,1e999,3,b,", "price", "price_out_of_range", "1e999"},
        {"A,1,1,2,1e-999,b,", "quantity", "quantity_out_of_range", "1e-999"},
        {"A,1,1,2,1 2,b,", "quantity", "quantity_unreadable", "1 2"},
        {"A,1,noon,2,3,b,", "time", "time_unreadable", "noon"},
        {"A,1,1.0000001,2,3,b,", "time", "time_unreadable", "1.0000001"},
        {"A,1,9223372036855,2,3,b,", "time", "time_out_of_range", "9223372036855"},
        {"A,1,1,2,3,up,", "side", "side_unreadable", "up"},
        {"A,1.5,1,2,3,b,", "trade_id", "id_unreadable", "1.5"},
        {"A,9223372036854775808,1,2,3,b,", "trade_id", "id_unreadable", "9223372036854775808"},
        {",1,1,2,3,b,", "symbol", "symbol_missing", ""},
        {std::string(257, 'A') + ",1,1,2,3,b,", "symbol", "symbol_too_long",
         std::string(60, 'A') + "..."},
        {"A,1,1,2,3,b", "", "field_count", "A,1,1,2,3,b"},
        {"A,1,1,2,3,b,,", "", "field_count", "A,1,1,2,3,b,,"},
        {"A,1,1,2,3", "", "field_count", "A,1,1,2,3"},
        {"A,1,1,2,3,b,\"x", "", "quoting", "A,1,1,2,3,b,\"x"},
        {"A,1,1,2,3,b,\"x\"y", "", "quoting", "\"x\"y"},
        {"\"A\",1,1,2\xff,3,b,", "price", "price_unreadable", "2?"},
    }));
    CAPTURE(c.text);
    const Error error = error_of(all_columns(), "B,1,1,2,3,s,\n" + c.text);
    REQUIRE(error.code() == ErrorCode::csv_row);
    REQUIRE(field_of(error, "row") == "2");
    REQUIRE(field_of(error, "column") == c.column);
    REQUIRE(field_of(error, "reason") == c.reason);
    REQUIRE(field_of(error, "excerpt") == c.excerpt);
}

TEST_CASE("counted faults leave the good rows", "[csv]") {
    CsvOptions options = three_columns(CsvTimeUnit::nanoseconds);
    options.count_faults = true;
    options.line_bytes_max = 40;
    const std::string text = "1,1,1\n2,x,1\n3,1,y\n4,\"1\n5,1,1\n6," + std::string(100, '1') +
                             "\n7,1,1\n\"8\"8,1,1\n9,1,1,1\n10,\"1\"\n11,1,\"1\"";
    const Outcome whole = read_all(options, text, 10'000);
    for (std::size_t step = 1; step < 60; ++step) REQUIRE(read_all(options, text, step) == whole);
    std::vector<std::uint64_t> lines;
    for (const Row& row : whole.rows) lines.push_back(row.line);
    REQUIRE(lines == std::vector<std::uint64_t>{1, 5, 7, 11});
    const auto count = [&](CsvFault fault) {
        return whole.faults[static_cast<std::size_t>(fault)];
    };
    REQUIRE(count(CsvFault::price_unreadable) == 1);
    REQUIRE(count(CsvFault::quantity_unreadable) == 1);
    REQUIRE(count(CsvFault::quoting) == 2);
    REQUIRE(count(CsvFault::line_too_long) == 1);
    REQUIRE(count(CsvFault::field_count) == 2);
}

TEST_CASE("the longest line", "[csv]") {
    CsvOptions options = three_columns(CsvTimeUnit::nanoseconds);
    options.line_bytes_max = 50;
    options.count_faults = true;
    for (const std::size_t size : {49U, 50U, 51U, 52U}) {
        const std::string line = "1,1," + std::string(size - 5, '0') + "1";
        for (const std::size_t step : {1U, 7U, 50U, 51U, 1000U}) {
            const Outcome outcome = read_all(options, line + "\n2,2,2\n", step);
            REQUIRE(outcome.rows.size() == (size <= 50 ? 2 : 1));
            REQUIRE(outcome.rows.back().line == 2);
        }
    }
}

TEST_CASE("decimals become the nearest double", "[csv]") {
    std::mt19937_64 random(7);
    const auto check = [](const std::string& text) {
        CAPTURE(text);
        const double expected = std::strtod(text.c_str(), nullptr);
        const double value = number(text);
        REQUIRE(value == expected);
        REQUIRE(std::signbit(value) == std::signbit(expected));
        double other = 0;
        const std::size_t sign = text[0] == '-' || text[0] == '+' ? 1 : 0;
        REQUIRE(detail::convert_double_strtod(text.data() + sign, text.data() + text.size(), other));
        REQUIRE(other == std::fabs(expected));
    };
    for (const char* text :
         {"0", "-0", "0.0", "+1", ".5", "5.", "1e5", "1E-5", "1e+05", "0.1", "0.3", "123456.789",
          "9007199254740993", "9007199254740993.0", "9007199254740992.9999", "1e22", "1e23",
          "42500.1000000000000000", "0.000000000000000000000000000001", "18446744073709551615",
          "18446744073709551616", "99999999999999999999999999", "2.2250738585072014e-308",
          "1.7976931348623157e308", "179769313486231570000e288", "0e999999999999999999999",
          "8.5070591730234615865843651857942052864e37", "0.1e-5", "1e-300"}) {
        check(text);
    }
    for (int i = 0; i < 200'000; ++i) {
        const int decimals = static_cast<int>(random() % 12);
        const std::uint64_t bits = random() >> (random() % 64);
        std::string digits = std::to_string(bits);
        if (decimals > 0) {
            if (digits.size() <= static_cast<std::size_t>(decimals)) {
                digits.insert(0, static_cast<std::size_t>(decimals) - digits.size() + 1, '0');
            }
            digits.insert(digits.size() - static_cast<std::size_t>(decimals), ".");
        }
        if (random() % 4 == 0) digits += "e" + std::to_string(static_cast<int>(random() % 40) - 20);
        if (random() % 2 == 0) digits.insert(0, "-");
        check(digits);
    }
    REQUIRE(std::isnan(number("nan")));
    REQUIRE(std::isnan(number("NaN")));
    REQUIRE(number("-Infinity") == -std::numeric_limits<double>::infinity());
}

TEST_CASE("the locale of the process changes nothing", "[csv]") {
    const std::string before = std::setlocale(LC_ALL, nullptr);
    for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8", "C"}) {
        if (std::setlocale(LC_ALL, name) == nullptr) continue;
        double value = 0;
        const std::string_view text = "1.25";
        REQUIRE(detail::convert_double_strtod(text.data(), text.data() + 4, value));
        REQUIRE(value == 1.25);
        REQUIRE(number("1234567890123456789012.5") == 1234567890123456789012.5);
    }
    std::setlocale(LC_ALL, before.c_str());
}

TEST_CASE("stamps are exact", "[csv]") {
    using enum CsvTimeUnit;
    REQUIRE(stamp("1616663618") == 1616663618000000000);
    REQUIRE(stamp("1616663618.1234") == 1616663618123400000);
    REQUIRE(stamp("1616663618.123456789") == 1616663618123456789);
    REQUIRE(stamp("1616663618.1234567890000") == 1616663618123456789);
    REQUIRE_FALSE(stamp("1616663618.1234567891"));
    REQUIRE(stamp("1616663618123") == 1616663618123000000);
    REQUIRE(stamp("1616663618123.5") == 1616663618123500000);
    REQUIRE(stamp("1616663618123456") == 1616663618123456000);
    REQUIRE(stamp("1616663618123456789") == 1616663618123456789);
    REQUIRE(stamp("1735689600000", milli_or_micro) == 1735689600000000000);
    REQUIRE(stamp("1735689600010866", milli_or_micro) == 1735689600010866000);
    REQUIRE(stamp("1735689600", milli_or_micro) == 1735689600000000);
    REQUIRE(stamp("1.616663618123e12") == 1616663618123000000);
    REQUIRE(stamp("1.6166636181234E+09") == 1616663618123400000);
    REQUIRE(stamp("16166636181234e-4", seconds) == 1616663618123400000);
    REQUIRE(stamp("-1.5", seconds) == -1500000000);
    REQUIRE(stamp("0.5", milliseconds) == 500000);
    REQUIRE(stamp("0", microseconds) == 0);
    REQUIRE(stamp("0.000", seconds) == 0);
    REQUIRE(stamp("000000000000000000000000000001", nanoseconds) == 1);
    REQUIRE(stamp("1e-9", seconds) == 1);
    REQUIRE(stamp("1.1e-8", seconds) == 11);
    REQUIRE(stamp("1.10000000e-8", seconds) == 11);
    REQUIRE_FALSE(stamp("1e-10", seconds));
    REQUIRE_FALSE(stamp("0.5", nanoseconds));
    REQUIRE(stamp("9223372036854775807", nanoseconds) == 9223372036854775807);
    REQUIRE_FALSE(stamp("9223372036854775808", nanoseconds));
    REQUIRE_FALSE(stamp("9223372037", seconds));
    REQUIRE_FALSE(stamp("1e30", seconds));
    REQUIRE_FALSE(stamp("1e99999999999999999999", seconds));
    REQUIRE(stamp("0e99999999999999999999", seconds) == 0);
    for (const char* text : {"", ".", "-", "e5", "1e", "1.2.3", "12:00", "--1", "nan"}) {
        CAPTURE(text);
        REQUIRE_FALSE(stamp(text, seconds));
    }
}

TEST_CASE("ISO 8601 stamps", "[csv]") {
    const TimeNs noon = 1616663618000000000;  // 2021-03-25T09:13:38Z
    REQUIRE(stamp("2021-03-25T09:13:38Z") == noon);
    REQUIRE(stamp("2021-03-25 09:13:38") == noon);
    REQUIRE(stamp("2021-03-25 09:13:38 UTC") == noon);
    REQUIRE(stamp("2021-03-25D09:13:38.123456789") == noon + 123456789);
    REQUIRE(stamp("2021-03-25t10:13:38,5+01:00") == noon + 500000000);
    REQUIRE(stamp("2021-03-25T04:13:38-0500") == noon);
    REQUIRE(stamp("2021-03-25T14:43:38+05:30") == noon);
    REQUIRE(stamp("2021-03-25T10:13:38+01") == noon);
    REQUIRE(stamp("2021-03-25T09:13Z") == noon - 38000000000);
    REQUIRE(stamp("1970-01-01") == 0);
    REQUIRE(stamp("1969-12-31T23:59:59.999999999Z") == -1);
    REQUIRE(stamp("2000-02-29") == 951782400000000000);
    REQUIRE(stamp("1900-03-01") == -2203891200000000000);
    for (const char* text :
         {"2021-02-29", "2021-13-01", "2021-00-10", "2021-03-32", "2021-03-25T24:00:00",
          "2021-03-25T09:60:00", "2021-03-25T09:13:60", "2021-03-25T09:13:38.", "2021-03-25T",
          "2021-03-25T09", "2021-03-25T09:13:38.1234567891", "2021-03-25T09:13:38+1:00",
          "2021-03-25T09:13:38ZZ", "2021-3-25T09:13:38", "2021-03-25X09:13:38", "0001-01-01",
          "9999-12-31", "2021-03-25T09:13:38+24:00", "2021-03-25T09:13:3"}) {
        CAPTURE(text);
        REQUIRE_FALSE(stamp(text));
    }
}

TEST_CASE("sides", "[csv]") {
    const auto side = [](std::string_view text, CsvSideRule rule) {
        std::int8_t value = 9;
        return detail::parse_side(text, rule, value) ? int{value} : 9;
    };
    using enum CsvSideRule;
    for (const char* text : {"buy", "Buy", "BUY", "b", "1", "+1", "true", "Bid", "buyer"}) {
        REQUIRE(side(text, taker) == 1);
    }
    for (const char* text : {"sell", "S", "-1", "False", "ask", "A"}) REQUIRE(side(text, taker) == -1);
    for (const char* text : {"", "0", "unknown", "None", "N"}) REQUIRE(side(text, taker) == 0);
    for (const char* text : {"true", "True", "t", "1"}) REQUIRE(side(text, buyer_is_maker) == -1);
    for (const char* text : {"false", "FALSE", "f", "0"}) REQUIRE(side(text, buyer_is_maker) == 1);
    REQUIRE(side("", buyer_is_maker) == 0);
    for (const char* text : {"buy", "-1", "2", "yes"}) REQUIRE(side(text, buyer_is_maker) == 9);
    for (const char* text : {"2", "up", "purchase", "something else"}) REQUIRE(side(text, taker) == 9);
}

TEST_CASE("a dump far larger than its pieces", "[csv]") {
    std::string text;
    std::vector<Row> expected;
    std::mt19937_64 random(3);
    const std::vector<std::string> names{"BTCUSDT", "ETHUSDT", "X"};
    for (std::uint64_t i = 0; i < 20'000; ++i) {
        const auto time = static_cast<std::int64_t>(1'600'000'000'000 + i);
        const auto cents = static_cast<std::int64_t>(random() % 10'000'000);
        const std::string price = std::to_string(cents / 100) + "." + (cents % 100 < 10 ? "0" : "") +
                                  std::to_string(cents % 100);
        const std::string& name = names[random() % 3];
        const bool buy = random() % 2 == 0;
        const bool quote = random() % 16 == 0;
        text += (quote ? "\"" + name + "\"" : name) + "," + std::to_string(i) + "," +
                std::to_string(time) + "," + price + ",2," + (buy ? "buy" : "sell") + ",pad\n";
        expected.push_back({time * 1'000'000, static_cast<double>(cents) / 100, 2.0, buy ? 1 : -1,
                            static_cast<std::int64_t>(i), name, i + 1});
    }
    REQUIRE(read_all(all_columns(), text, text.size()).rows == expected);
    REQUIRE(read_all(all_columns(), text, 4096, true).rows == expected);
    REQUIRE(read_all(all_columns(), text, 257).rows == expected);
}

TEST_CASE("options that contradict each other are refused", "[csv]") {
    const auto code = [](const CsvOptions& options) {
        try {
            CsvParser parser(options);
            return false;
        } catch (const Error& error) {
            return error.code() == ErrorCode::invalid_option;
        }
    };
    REQUIRE_FALSE(code(all_columns()));
    CsvOptions options = all_columns();
    options.columns.push_back({6, CsvRole::time});
    REQUIRE(code(options));
    options = all_columns();
    options.columns[0].index = 2;
    REQUIRE(code(options));
    options = all_columns();
    options.columns[0].index = 7;
    REQUIRE(code(options));
    options = all_columns();
    options.columns.erase(options.columns.begin() + 3);
    REQUIRE(code(options));
    options = all_columns();
    options.delimiter = '"';
    REQUIRE(code(options));
    options = all_columns();
    options.line_bytes_max = 0;
    REQUIRE(code(options));
}

TEST_CASE("after an error the rows before it can be taken and nothing more be fed", "[csv]") {
    CsvParser parser(three_columns());
    REQUIRE_THROWS_AS(parser.feed("1,2,3\n4,5,6\nx,y,z\n"), Error);
    REQUIRE(parser.take().rows == 2);
    REQUIRE_THROWS_AS(parser.feed("1,2,3\n"), Error);
    REQUIRE_THROWS_AS(parser.finish(), Error);
}
