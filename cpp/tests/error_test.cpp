#include "klineagg/error.hpp"

#include <map>
#include <set>
#include <string>

#include "catch.hpp"

using namespace klineagg;

TEST_CASE("codes and names are what they have always been", "[error]") {
    // People match on both: a line may be added here, never changed.
    const std::map<int, std::string> known{
        {101, "invalid_interval"},  {102, "duplicate_interval"}, {103, "invalid_option"},
        {104, "unknown_time_zone"}, {105, "invalid_session_table"}, {106, "missing_extra"},
        {201, "missing_column"},    {202, "ambiguous_column"},   {203, "column_type"},
        {204, "column_length"},     {205, "unsupported_input"},  {206, "time_unit"},
        {207, "unknown_symbol"},    {301, "bad_trade"},          {302, "unsorted"},
        {303, "late_trade"},        {304, "count_overflow"},     {401, "file_not_found"},
        {402, "file_format"},       {403, "file_truncated"},     {404, "csv_row"},
        {405, "stream_failed"},     {406, "file_not_written"},  {501, "partials_needed"},    {502, "merge_mismatch"},
        {503, "no_such_series"},    {504, "record_version"},     {601, "engine_state"},
        {602, "core_unavailable"},  {603, "lane_full"},          {604, "snapshot_outstanding"},
        {605, "snapshot_over"},     {606, "worker_failed"},      {607, "forked"},
        {608, "clock_backwards"},   {609, "unknown_name"},       {901, "internal"},
    };
    std::map<int, std::string> table;
    for (const ErrorInfo& info : error_table())
        table.emplace(static_cast<int>(info.code), std::string(info.name));
    for (const auto& [number, name] : known) {
        INFO(number);
        CHECK(table[number] == name);
    }
}

TEST_CASE("the table is in order, and every row says what to do", "[error]") {
    const std::set<std::string> classes{"IntervalError", "OptionError", "MissingExtraError",
                                        "ColumnError",   "TimeUnitError", "TradeError",
                                        "OrderError",    "FileError",   "ResultError",
                                        "EngineError",   "LaneFullError", "SnapshotError",
                                        "SnapshotTimeoutError",
                                        "WalError",      "WalDamagedError", "WalHaltedError",
                                        "WalTimeoutError", "LakeError", "LakeBusyError",
                                        "LakeQueryError", "ConfigError", "ControlError",
                                        "SourceError",   "TaskError",   "BusError",
                                        "BusNameError",  "PublisherExistsError",
                                        "RecordTypeError", "DeliveryError", "DeliveryTimeoutError",
                                        "BridgeError",
                                        "InternalError"};
    int last = 0;
    std::set<std::string> names;
    for (const ErrorInfo& info : error_table()) {
        INFO(info.name);
        const int number = static_cast<int>(info.code);
        CHECK(number > last);
        last = number;
        CHECK(number >= 100);
        CHECK(number <= 999);  // three digits are part of the code's text
        CHECK(names.insert(std::string(info.name)).second);
        CHECK(classes.count(std::string(info.python_class)) == 1);
        CHECK_FALSE(info.hint.empty());
        CHECK(&error_info(info.code) == &info);
    }
}

TEST_CASE("a code outside the table is our own mistake", "[error]") {
    CHECK(error_info(static_cast<ErrorCode>(999)).code == ErrorCode::internal);
    CHECK(error_info(static_cast<ErrorCode>(0)).code == ErrorCode::internal);
}

TEST_CASE("an error carries its fields in order", "[error]") {
    try {
        throw Error(ErrorCode::bad_trade, "row 7: price", {{"row", "7"}, {"column", "price"}});
    } catch (const std::runtime_error& caught) {
        const auto& error = dynamic_cast<const Error&>(caught);
        CHECK(error.code() == ErrorCode::bad_trade);
        CHECK(std::string(error.what()) == "row 7: price");
        REQUIRE(error.fields().size() == 2);
        CHECK(error.fields()[0].first == "row");
        CHECK(error.fields()[1].second == "price");
    }
    CHECK(Error(ErrorCode::internal, "").fields().empty());
}
