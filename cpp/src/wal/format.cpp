#include "klineagg/wal/format.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <random>

#include "klineagg/error.hpp"
#include "klineagg/wal/crc32c.hpp"

namespace klineagg::wal {
namespace {

static_assert(std::endian::native == std::endian::little, "the log's numbers are little-endian");

constexpr std::size_t COPY_BYTES = SEGMENT_HEADER_BYTES / 2;
constexpr std::size_t NAME_DIGITS = 20;
constexpr std::string_view NAME_SUFFIX = ".kwal";

template <class T>
Bytes bytes_of(const T& value) noexcept {
    return std::as_bytes(std::span(&value, 1));
}

std::uint32_t header_crc(Bytes copy) noexcept {
    // As if the field were 0.
    constexpr std::size_t at = offsetof(SegmentHeader, crc);
    constexpr std::array<std::byte, 4> zero{};
    return crc32c(crc32c(crc32c(0, copy.first(at)), zero), copy.subspan(at + zero.size()));
}

std::optional<SegmentHeader> read_copy(Bytes copy) {
    SegmentHeader header;
    std::memcpy(static_cast<void*>(&header), copy.data(), sizeof header);
    if (header.magic != SegmentHeader{}.magic || header.crc != header_crc(copy))
        return std::nullopt;
    return header;
}

struct TopicName {
    Topic topic;
    std::string_view name;
};
constexpr std::array<TopicName, 9> TOPICS{{{Topic::trade, "trade"},
                                           {Topic::account, "account"},
                                           {Topic::l2, "l2"},
                                           {Topic::bar, "bar"},
                                           {Topic::clock, "clock"},
                                           {Topic::command, "command"},
                                           {Topic::application, "application"},
                                           {Topic::names, "names"},
                                           {Topic::seal, "seal"}}};

}  // namespace

std::string_view topic_name(Topic topic) noexcept {
    for (const TopicName& each : TOPICS)
        if (each.topic == topic) return each.name;
    return {};
}

std::optional<Topic> topic_of(std::string_view name) noexcept {
    for (const TopicName& each : TOPICS)
        if (each.name == name) return each.topic;
    return std::nullopt;
}

std::vector<std::byte> segment_block(const SegmentHeader& header) {
    std::vector<std::byte> block(SEGMENT_HEADER_BYTES);
    SegmentHeader final = header;
    final.crc = 0;
    std::memcpy(block.data(), &final, sizeof final);
    final.crc = header_crc(Bytes(block).first(COPY_BYTES));
    std::memcpy(block.data(), &final, sizeof final);
    std::copy_n(block.begin(), COPY_BYTES, block.begin() + COPY_BYTES);
    return block;
}

HeaderRead read_segment_block(Bytes block, const std::string& path) {
    HeaderRead read;
    read.is_blank = std::all_of(block.begin(), block.end(),
                                [](std::byte each) { return each == std::byte{0}; });
    if (block.size() < SEGMENT_HEADER_BYTES) {
        read.is_damaged = !read.is_blank;
        return read;
    }
    const std::optional<SegmentHeader> first = read_copy(block.first(COPY_BYTES));
    const std::optional<SegmentHeader> second = read_copy(block.subspan(COPY_BYTES, COPY_BYTES));
    read.header = first ? first : second;
    read.is_damaged = !read.is_blank && (!first || !second);
    if (read.header && read.header->version != FORMAT_VERSION) {
        throw Error(ErrorCode::wal_format,
                    path + " has version " + std::to_string(read.header->version) +
                        " of the log's format; this is version " + std::to_string(FORMAT_VERSION),
                    {{"path", path}, {"version", std::to_string(read.header->version)}});
    }
    return read;
}

std::uint32_t salt_of(const SegmentHeader& header) noexcept {
    return crc32c(crc32c(crc32c(0, header.log), header.nonce), bytes_of(header.first));
}

std::size_t write_frame(FrameHeader header, Bytes payload, std::uint32_t salt, std::byte* to) {
    const std::size_t body = padded(payload.size());
    std::byte* const data = to + sizeof header;
    if (!payload.empty()) std::memcpy(data, payload.data(), payload.size());
    std::memset(data + payload.size(), 0, body - payload.size());
    header.bytes = static_cast<std::uint32_t>(payload.size());
    header.payload_crc = crc32c(salt, Bytes(data, body));
    header.crc = crc32c(salt, bytes_of(header).subspan(sizeof header.crc));
    std::memcpy(to, &header, sizeof header);
    return sizeof header + body;
}

bool is_frame(const FrameHeader& header, std::uint32_t salt) noexcept {
    return header.magic == FrameHeader{}.magic && header.bytes <= PAYLOAD_BYTES_MAX &&
           header.crc == crc32c(salt, bytes_of(header).subspan(sizeof header.crc));
}

bool is_payload(const FrameHeader& header, Bytes padded_payload, std::uint32_t salt) noexcept {
    return header.payload_crc == crc32c(salt, padded_payload);
}

std::string segment_name(Sequence first) {
    std::string digits = std::to_string(first);
    digits.insert(0, NAME_DIGITS - digits.size(), '0');
    return digits.append(NAME_SUFFIX);
}

Sequence segment_first(std::string_view name) noexcept {
    if (name.size() != NAME_DIGITS + NAME_SUFFIX.size() || !name.ends_with(NAME_SUFFIX)) return 0;
    Sequence first = 0;
    for (const char digit : name.substr(0, NAME_DIGITS)) {
        if (digit < '0' || digit > '9') return 0;
        const auto value = static_cast<Sequence>(digit - '0');
        if (first > (UINT64_MAX - value) / 10) return 0;
        first = first * 10 + value;
    }
    return first;
}

Uuid random_uuid() {
    std::random_device device;
    Uuid id;
    for (std::size_t i = 0; i < id.size(); i += 4) {
        const std::uint32_t word = device();
        std::memcpy(id.data() + i, &word, sizeof word);
    }
    id[6] = (id[6] & std::byte{0x0f}) | std::byte{0x40};  // version 4, random
    id[8] = (id[8] & std::byte{0x3f}) | std::byte{0x80};
    return id;
}

std::string to_text(const Uuid& id) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += digits[std::to_integer<std::size_t>(id[i] >> 4)];
        text += digits[std::to_integer<std::size_t>(id[i] & std::byte{15})];
    }
    return text;
}

}  // namespace klineagg::wal
