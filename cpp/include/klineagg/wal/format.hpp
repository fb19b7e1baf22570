// The bytes of the log on disk. Little-endian, version 1.
//
// A segment is a file: a block of 4,096 bytes with two copies of its header, then frames one
// behind the other, each a header and a payload padded with zeros to 8 bytes. Every byte of it is
// under a CRC, and every CRC begins with the segment's own salt: bytes that were left on the disk
// by another file, or written for another place, are never taken for frames of this one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "klineagg/file.hpp"
#include "klineagg/time.hpp"

namespace klineagg::wal {

/// The number of a record: 1 is the first, none is left out. 0: none.
using Sequence = std::uint64_t;

enum class Topic : std::uint8_t {
    trade = 1,  // blocks of them: see trade_codec
    account = 2,
    l2 = 3,
    bar = 4,
    clock = 5,
    command = 6,
    application = 7,
    names = 200,  // no records: what the numbers of symbols and sources stand for in this segment
    seal = 201,   // no records: nothing follows in this segment
};
inline constexpr std::uint8_t TOPIC_RECORDS_MAX = 7;  // the topics that have records: 1 ... 7
/// "trade", "account", ...; empty for a number that stands for none.
[[nodiscard]] std::string_view topic_name(Topic topic) noexcept;
[[nodiscard]] std::optional<Topic> topic_of(std::string_view name) noexcept;

enum class SyncMode : std::uint8_t { none, interval, always };

inline constexpr std::uint32_t FORMAT_VERSION = 1;
inline constexpr std::size_t FRAME_ALIGN = 8;
inline constexpr std::size_t SEGMENT_HEADER_BYTES = 4096;
/// The largest payload: what a reader has to have in memory at a time.
inline constexpr std::size_t PAYLOAD_BYTES_MAX = std::size_t{8} << 20U;

using Uuid = std::array<std::byte, 16>;

struct SegmentHeader {
    std::array<char, 8> magic{'K', 'L', 'N', 'W', 'A', 'L', '\r', '\n'};
    std::uint32_t version = FORMAT_VERSION;
    std::uint32_t crc = 0;  // of the copy's 2,048 bytes with this field 0
    Uuid log{};             // the same in every segment of a log
    Uuid nonce{};           // another one in every segment
    Sequence first = 1;     // the first record that may be in it
    std::uint64_t number = 1;
    Sequence previous_first = 0;  // of the segment before
    TimeNs created = 0;
    std::array<char, 40> boot{};  // the machine's start in which it was written
    SyncMode sync = SyncMode::interval;
    std::array<std::byte, 7> unused{};
};
static_assert(sizeof(SegmentHeader) == 128);
static_assert(std::is_trivially_copyable_v<SegmentHeader>);

struct FrameHeader {
    std::uint32_t crc = 0;          // of the rest of the header, salted
    std::uint32_t payload_crc = 0;  // of the payload with its padding, salted
    std::uint32_t bytes = 0;        // of the payload, without padding
    std::uint32_t count = 0;        // records
    Sequence sequence = 0;          // of its first record; with none: of the next one
    TimeNs time = 0;                // when it was appended
    // What was on the disk for certain when this was written. Damage before it cannot be the trace
    // of a power cut.
    Sequence durable = 0;
    Topic topic = Topic::application;
    std::uint8_t flags = 0;
    std::uint16_t schema = 0;  // version of the payload's own layout
    std::array<char, 4> magic{'K', 'F', 'R', '1'};
};
static_assert(sizeof(FrameHeader) == 48);
static_assert(std::is_trivially_copyable_v<FrameHeader>);

[[nodiscard]] constexpr std::size_t padded(std::size_t bytes) noexcept {
    return (bytes + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
}
[[nodiscard]] constexpr std::size_t frame_bytes(std::size_t payload_bytes) noexcept {
    return sizeof(FrameHeader) + padded(payload_bytes);
}

/// The block at the start of a segment; sets the CRC.
[[nodiscard]] std::vector<std::byte> segment_block(const SegmentHeader& header);

struct HeaderRead {
    std::optional<SegmentHeader> header;
    bool is_blank = false;    // nothing was ever written
    bool is_damaged = false;  // one of the copies, or both
};
/// Throws Error(wal_format) for another version.
[[nodiscard]] HeaderRead read_segment_block(Bytes block, const std::string& path);
/// What every CRC in the segment begins with.
[[nodiscard]] std::uint32_t salt_of(const SegmentHeader& header) noexcept;

/// Writes header and payload to `to`, which has room for frame_bytes(payload.size()); sets the
/// CRCs and the sizes. Returns the bytes written.
std::size_t write_frame(FrameHeader header, Bytes payload, std::uint32_t salt, std::byte* to);
/// Whether 48 bytes are the header of a frame of this segment.
[[nodiscard]] bool is_frame(const FrameHeader& header, std::uint32_t salt) noexcept;
[[nodiscard]] bool is_payload(const FrameHeader& header, Bytes padded_payload,
                              std::uint32_t salt) noexcept;

/// "00000000000000000001.kwal", and back. 0: not the name of a segment.
[[nodiscard]] std::string segment_name(Sequence first);
[[nodiscard]] Sequence segment_first(std::string_view name) noexcept;
inline constexpr std::string_view TEMPORARY_SUFFIX = ".tmp";
inline constexpr std::string_view LOCK_NAME = "lock";

[[nodiscard]] Uuid random_uuid();
/// "0f2c..." with dashes.
[[nodiscard]] std::string to_text(const Uuid& id);

}  // namespace klineagg::wal
