// What the tests of the log share.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "catch.hpp"
#include "klineagg/wal/log.hpp"
#include "klineagg/wal/reader.hpp"
#include "wal/faulty_files.hpp"

namespace klineagg::wal {

inline const std::string DIRECTORY = "log";

inline LogOptions small_options(SyncMode sync = SyncMode::interval) {
    LogOptions options;
    options.sync = sync;
    options.segment_bytes = 1U << 14U;
    options.ring_bytes = 1U << 14U;
    options.interval_ns = 1'000'000;
    return options;
}

inline Bytes as_bytes(const std::string& text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}
/// Record n of a log of tests: of another size each, and tells its number.
inline std::string content(Sequence n) {
    std::string text = "record " + std::to_string(n) + ":";
    text.append(static_cast<std::size_t>(n * 37 % 150), static_cast<char>('a' + n % 26));
    return text;
}

struct Content {
    std::map<Sequence, std::string> records;
    std::vector<Damage> damages;
    std::uint64_t torn_bytes = 0;
    bool is_sealed = false;
};

inline Content read_all(const std::shared_ptr<FileSystem>& files, ReadOptions options = {}) {
    Reader reader(files, DIRECTORY, options);
    Reader::Frame frame;
    Content content;
    while (reader.next(frame)) {
        const Bytes payload = frame.view.payload;
        content.records[frame.view.header.sequence] = {
            reinterpret_cast<const char*>(payload.data()), payload.size()};
    }
    content.damages = reader.damages();
    content.torn_bytes = reader.torn_bytes();
    content.is_sealed = reader.is_sealed();
    return content;
}

/// The records 1 ... last, each as it was offered, and no other.
inline void check_records(const Content& content, Sequence last, Sequence first = 1) {
    CHECK(content.records.size() == last + 1 - first);
    for (const auto& [sequence, text] : content.records) {
        INFO("record " << sequence);
        CHECK(sequence >= first);
        CHECK(sequence <= last);
        CHECK(text == wal::content(sequence));
    }
}

inline void append_records(Log& log, Sequence count) {
    for (Sequence i = 0; i < count; ++i) {
        const std::string text = content(log.next_sequence());
        log.append_wait(Topic::application, as_bytes(text), 1,
                        engine::deadline_after(10 * NS_PER_SECOND));
    }
}

}  // namespace klineagg::wal
