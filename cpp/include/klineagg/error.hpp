// Typed errors with stable codes. One table feeds C++, Python and the docs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <stdexcept>

namespace klineagg {

// X(number, name, Python class, what to do). A number is never reused; a name never changes.
// 1xx configuration, 2xx shape of the input, 3xx trades, 4xx files, 5xx results, 6xx the live
// engine, 70x the write-ahead log, 72x the lake, 74x running it, 8xx the bus, 9xx ours.
#define KLINEAGG_ERROR_TABLE(X)                                                                    \
    X(101, invalid_interval, IntervalError, "use 1s ... 1M, for example '1m', '4h', '1d+8h'")      \
    X(102, duplicate_interval, IntervalError, "name each interval once")                           \
    X(103, invalid_option, OptionError, "see the documentation of the argument")                   \
    X(104, unknown_time_zone, IntervalError, "use an IANA name; `pip install tzdata` adds them")   \
    X(105, invalid_session_table, IntervalError, "sessions are sorted, disjoint, whole seconds")   \
    X(106, missing_extra, MissingExtraError, "install the named extra")                            \
    X(201, missing_column, ColumnError, "map it with columns={'price': 'its_name'}")               \
    X(202, ambiguous_column, ColumnError, "say which with columns={'price': 'its_name'}")          \
    X(203, column_type, ColumnError, "convert the column to the type named")                       \
    X(204, column_length, ColumnError, "all columns need the same length")                         \
    X(205, unsupported_input, ColumnError, "pass a structured array, a mapping or an Arrow table") \
    X(206, time_unit, TimeUnitError, "pass unit='s', 'ms', 'us' or 'ns'")                          \
    X(207, unknown_symbol, ColumnError, "intern the names first, or pass strings")                 \
    X(301, bad_trade, TradeError, "pass on_bad='count' to reject and count such rows")             \
    X(302, unsorted, OrderError, "sort by time within each symbol, or pass a lateness")            \
    X(303, late_trade, OrderError, "raise the lateness, or pass late='drop' or 'amend'")           \
    X(304, count_overflow, TradeError, "check the trade ids or counts of the aggregated trades")   \
    X(401, file_not_found, FileError, "check the path")                                            \
    X(402, file_format, FileError, "name the format with --preset or map the columns")             \
    X(403, file_truncated, FileError, "fetch the file again")                                      \
    X(404, csv_row, FileError, "fix the row, or pass --on-bad count")                              \
    X(405, stream_failed, FileError, "look at what produces the Arrow data")                       \
    X(406, file_not_written, FileError, "look at the folder, the rights to it and the room there") \
    X(501, partials_needed, ResultError, "aggregate with partials=True before merging")            \
    X(502, merge_mismatch, ResultError, "merge results of the same intervals and options")         \
    X(503, no_such_series, ResultError, "look at bars.symbols and bars.intervals")                 \
    X(504, record_version, ResultError, "read it with the version of klineagg that wrote it")      \
    X(601, engine_state, EngineError, "look at engine.state; a stopped engine stays stopped")      \
    X(602, core_unavailable, EngineError, "name allowed cores only, or pass cores=None")           \
    X(603, lane_full, LaneFullError, "push less, add workers, or choose another policy")           \
    X(604, snapshot_outstanding, SnapshotError, "ack or nack the consumer's last snapshot first")  \
    X(605, snapshot_over, SnapshotError, "take again: the same rows come back")                    \
    X(606, worker_failed, EngineError, "look at the cause; make a new engine")                     \
    X(607, forked, EngineError, "make engines, logs and rings in the process that uses them")      \
    X(608, clock_backwards, EngineError, "advance the simulated clock forward only")               \
    X(609, unknown_name, EngineError, "look at the names listed")                                  \
    X(620, checkpoint_format, EngineError, "use an older checkpoint, and replay more")             \
    X(621, checkpoint_version, EngineError, "restore it with the version that wrote it")           \
    X(622, checkpoint_mismatch, EngineError, "restore it with the options it was made with")       \
    X(640, recovery_mismatch, EngineError, "use the checkpoint that was made with this log")       \
    X(641, recovery_hole, EngineError, "hand over a newer checkpoint, or begin with a new log")    \
    X(642, journal_record, EngineError, "read it with the version of klineagg that wrote it")      \
    X(643, correction_needs_log, EngineError, "give the engine a log: Engine(wal=...)")            \
    X(644, correction_unknown_trade, EngineError, "repair the bars from a file of their trades")   \
    X(645, correction_pending, EngineError, "call it again when the bar has another trade or ends") \
    X(646, correction_log_gone, EngineError, "repair the bars from a file of their trades")        \
    X(701, wal_locked, WalError, "close the other writer of this log, or use another directory")   \
    X(702, wal_damaged, WalDamagedError,                                                          \
      "look with `klineagg wal verify`; salvage=True, or --salvage, goes past it")                \
    X(703, wal_halted, WalHaltedError, "mend the cause, then call resume()")                       \
    X(704, wal_io, WalError, "look at the disk; the fields tell call, path and errno")             \
    X(705, wal_full, WalHaltedError, "commit what the log holds, or raise its limit")              \
    X(706, wal_record, WalError, "see the limits of a record")                                     \
    X(707, wal_closed, WalError, "open the log again")                                             \
    X(708, wal_format, WalError, "read it with the version of klineagg that wrote it")             \
    X(709, wal_timeout, WalTimeoutError, "the disk is too slow for what comes in, or stuck")       \
    X(710, wal_range, WalError, "ask for records that the log still has")                          \
    X(711, wal_no_times, WalError, "ask for records by their numbers, without times and speed")    \
    X(721, lake_catalog, LakeError, "check the catalog, the data path and the rights to both")     \
    X(722, lake_version, LakeError, "use the version of klineagg that wrote the lake, or newer")   \
    X(723, lake_busy, LakeBusyError, "another writer holds the lake; wait, or raise timeout=")     \
    X(724, lake_read_only, LakeError, "open the lake without read_only=True")                      \
    X(725, lake_query, LakeQueryError, "lake.sql() takes one statement that only reads")           \
    X(726, lake_snapshot, LakeQueryError, "look at lake.snapshots() for what is kept")             \
    X(727, lake_commit, LakeError, "nothing was committed; deliver the snapshot again")            \
    X(728, lake_extension, LakeError, "pip install 'klineagg[lake]'")                              \
    X(729, lake_closed, LakeError, "open the lake again: klineagg.Lake(...)")                      \
    X(731, take_timeout, SnapshotTimeoutError, "take again: no row is lost, and none comes twice")  \
    X(741, config_invalid, ConfigError, "fix the line; `klineagg config init` shows every key")    \
    X(742, config_restart, ConfigError, "stop it and run it again to change this")                 \
    X(743, control_unavailable, ControlError, "start `klineagg run`, with the same configuration") \
    X(744, control_refused, ControlError, "look at the reason, and at the engine's log")           \
    X(745, already_running, ControlError, "stop the other one, or give this one another name")     \
    X(746, source_failed, SourceError, "look at the cause; what was read before is kept")          \
    X(747, task_invalid, TaskError, "see the guide of running, under tasks")                       \
    X(801, bus_unavailable, BusError, "is there room, and may this user write there?")             \
    X(802, publisher_exists, PublisherExistsError, "stop the other one, or take another name")     \
    X(803, record_mismatch, RecordTypeError, "give both sides the same record")                    \
    X(804, segment_damaged, BusError, "remove the segment: another program wrote it")              \
    X(805, batch_too_large, BusError, "publish less at once, or make the ring larger")             \
    X(806, bus_closed, BusError, "make a new one")                                                 \
    X(807, delivery_failed, DeliveryError, "look at the missing acknowledgers")                    \
    X(808, too_many_publishers, BusError, "let the workers share publishers")                      \
    X(809, bus_name, BusNameError, "use letters, digits, '_' and '-'")                             \
    X(810, loan_outstanding, BusError, "commit or drop the loan, or release the peek, first")      \
    X(811, resume_hole, BusError, "start anew: the log no longer has these messages")              \
    X(812, peer_failed, BusError, "look at the message of the other transport")                    \
    X(813, bridge_refused, BridgeError, "both sides need the same secret, version and records")    \
    X(814, bridge_damaged, BridgeError, "the connection is made again by itself")                  \
    X(815, resume_ahead, BusError, "leave that position out, or restore what was lost")            \
    X(816, delivery_timeout, DeliveryTimeoutError, "it is on its way: wait longer, or flush()")    \
    X(901, internal, InternalError, "please report this with the message")

enum class ErrorCode : std::uint16_t {
#define KLINEAGG_ENUM(number, name, cls, hint) name = number,
    KLINEAGG_ERROR_TABLE(KLINEAGG_ENUM)
#undef KLINEAGG_ENUM
};

struct ErrorInfo {
    ErrorCode code;
    std::string_view name;
    std::string_view python_class;
    std::string_view hint;
};

/// Every known error, in the order of its number.
const std::vector<ErrorInfo>& error_table();
const ErrorInfo& error_info(ErrorCode code);

/// An error that carries fields, so that a caller need not parse its text.
class Error : public std::runtime_error {
public:
    using Fields = std::vector<std::pair<std::string, std::string>>;

    Error(ErrorCode code, const std::string& message, Fields fields = {})
        : std::runtime_error(message), code_(code), fields_(std::move(fields)) {}

    [[nodiscard]] ErrorCode code() const noexcept { return code_; }
    [[nodiscard]] const Fields& fields() const noexcept { return fields_; }

private:
    ErrorCode code_;
    Fields fields_;
};

}  // namespace klineagg
