#include "klineagg/bus/ring.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <string>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr std::uint64_t CAPACITY_MAX = std::uint64_t{1} << 40;

[[noreturn]] void damaged(const std::string& why) {
    throw Error(ErrorCode::segment_damaged, "not a ring of the bus: " + why);
}

}  // namespace

std::uint64_t ring_capacity(std::size_t bytes, std::size_t record_bytes) noexcept {
    const std::uint64_t records = bytes / record_bytes;
    return std::clamp<std::uint64_t>(std::bit_floor(records), RING_CAPACITY_MIN, CAPACITY_MAX);
}

std::size_t ring_bytes(std::uint64_t capacity, std::size_t record_bytes) noexcept {
    return RING_HEADER_BYTES + static_cast<std::size_t>(capacity) * record_bytes;
}

RingMemory RingMemory::create(std::byte* memory, std::uint64_t capacity, const RecordType& type,
                              std::uint64_t first_sequence) {
    auto* const header = new (memory) RingHeader;
    header->header_bytes = RING_HEADER_BYTES;
    header->capacity = capacity;
    header->record_bytes = static_cast<std::uint32_t>(type.bytes());
    header->type_text_bytes = static_cast<std::uint32_t>(type.text().size());
    header->type_hash = type.hash();
    header->first_sequence = first_sequence;
    std::memcpy(header->type_text, type.text().data(), type.text().size());
    header->tail_intent.store(first_sequence, std::memory_order_relaxed);
    header->tail.store(first_sequence, std::memory_order_release);
    return open(memory, ring_bytes(capacity, type.bytes()));
}

RingMemory RingMemory::open(std::byte* memory, std::size_t bytes) {
    if (bytes < RING_HEADER_BYTES) damaged("it is too short");
    auto* const header = reinterpret_cast<RingHeader*>(memory);
    if (header->magic != RING_MAGIC) damaged("it begins with something else");
    if (header->layout_version != RING_LAYOUT_VERSION) {
        throw Error(ErrorCode::record_mismatch,
                    "the ring was made by another version of klineagg: layout " +
                        std::to_string(header->layout_version) + ", here " +
                        std::to_string(RING_LAYOUT_VERSION));
    }
    const std::uint64_t capacity = header->capacity;
    const std::size_t record = header->record_bytes;
    if (header->header_bytes != RING_HEADER_BYTES) damaged("its header has another size");
    if (record < sizeof(MessageHeader) || record % 8 != 0 || record > RECORD_BYTES_MAX)
        damaged("records of " + std::to_string(record) + " bytes");
    if (!std::has_single_bit(capacity) || capacity < RING_CAPACITY_MIN || capacity > CAPACITY_MAX)
        damaged("a capacity of " + std::to_string(capacity));
    if ((bytes - RING_HEADER_BYTES) / record < capacity) damaged("it is cut off");
    RingMemory ring;
    ring.header_ = header;
    ring.slots_ = reinterpret_cast<Word*>(memory + RING_HEADER_BYTES);
    ring.mask_ = capacity - 1;
    ring.words_ = record / 8;
    return ring;
}

RecordType RingMemory::type() const {
    const std::size_t length = header_->type_text_bytes;
    if (length > TYPE_TEXT_BYTES_MAX) damaged("its record type is too long");
    RecordType type = RecordType::parse({header_->type_text, length});
    if (type.bytes() != record_bytes() || type.hash() != header_->type_hash)
        damaged("its record type does not fit its records");
    return type;
}

bool RingReader::skip_lost() noexcept {
    const std::uint64_t gone = oldest();
    if (static_cast<std::int64_t>(gone - cursor_) <= 0) return false;
    // Not to what the writer is about to overwrite: a quarter of the ring of room in front of it.
    // A ring that begins behind the cursor may be far from that, and all of it is there to be read.
    // `tail` is at most half of it below the intent, so this does not run ahead of it, except
    // behind a writer that died within a batch, or a hostile one.
    const std::uint64_t intent = ring_.header().tail_intent.load(std::memory_order_relaxed);
    const std::uint64_t kept = ring_.capacity() - ring_.capacity() / 4;
    const std::uint64_t with_room = intent > kept ? intent - kept : 0;
    const std::uint64_t tail = ring_.header().tail.load(std::memory_order_acquire);
    const std::uint64_t target = std::max(std::min(with_room, tail), gone);
    lost_ += target - cursor_;
    cursor_ = target;
    return true;
}

std::size_t RingReader::read(std::byte* to, std::size_t count_max) noexcept {
    const std::size_t words = ring_.record_words();
    // Twice at most: who is overrun again while it copies tries at its next call, so that a
    // writer at full speed cannot keep a reader in here.
    for (int attempt = 0; attempt < 2; ++attempt) {
        if (behind() > ring_.capacity()) skip_lost();
        const std::uint64_t first = cursor_;
        const std::size_t count = static_cast<std::size_t>(
            std::min<std::uint64_t>({behind(), count_max, ring_.capacity()}));
        if (count == 0) return 0;
        const auto run = static_cast<std::size_t>(
            std::min<std::uint64_t>(count, ring_.capacity() - (first & (ring_.capacity() - 1))));
        load_words(to, ring_.slot(first), run * words);
        load_words(to + run * words * 8, ring_.slot(first + run), (count - run) * words);
        fence_acquire();
        const auto torn = static_cast<std::int64_t>(oldest() - first);
        if (torn <= 0) {
            cursor_ += count;
            return count;
        }
        if (static_cast<std::uint64_t>(torn) < count) {
            // The writer came round to the first few of them only.
            const std::size_t whole = count - static_cast<std::size_t>(torn);
            std::memmove(to, to + static_cast<std::size_t>(torn) * words * 8, whole * words * 8);
            lost_ += static_cast<std::uint64_t>(torn);
            cursor_ += count;
            return whole;
        }
        skip_lost();
    }
    return 0;
}

RingReader::View RingReader::peek(std::size_t count_max) noexcept {
    skip_lost();
    View view;
    view.first = cursor_;
    const auto count = std::min<std::uint64_t>({behind(), count_max, ring_.capacity()});
    if (count == 0) return view;
    const std::uint64_t run =
        std::min(count, ring_.capacity() - (cursor_ & (ring_.capacity() - 1)));
    const std::size_t record = ring_.record_bytes();
    view.pieces[0] = {reinterpret_cast<const std::byte*>(ring_.slot(cursor_)),
                      static_cast<std::size_t>(run) * record};
    view.pieces[1] = {reinterpret_cast<const std::byte*>(ring_.slot(cursor_ + run)),
                      static_cast<std::size_t>(count - run) * record};
    return view;
}

}  // namespace klineagg::bus
