// The broadcast ring: one writer, any number of readers that it does not know. Pure memory: no
// files, no waiting, no names.
//
// The writer raises `tail_intent`, writes slots, raises `tail`. A reader copies slots below `tail`
// and then looks at `tail_intent`: what that has not come round to was not touched meanwhile.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "klineagg/bus/record_type.hpp"
#include "klineagg/bus/records.hpp"
#include "klineagg/bus/words.hpp"

namespace klineagg::bus {

inline constexpr std::uint64_t RING_MAGIC = 0x31474e49524b414cu;  // "LAKRING1"
inline constexpr std::uint32_t RING_LAYOUT_VERSION = 2;
inline constexpr std::size_t RING_CAPACITY_MIN = 4;
// The intent is raised so far beyond what is about to be written, at most this share of the ring:
// then single messages mostly leave its line alone, which every reader looks at for each message.
inline constexpr std::uint64_t INTENT_AHEAD_MAX = 64;
inline constexpr std::uint64_t INTENT_SHARE = 32;

enum class RingState : std::uint32_t {
    open = 1,
    closed = 2,    // by its publisher: nothing more comes, until a successor takes over
    replaced = 3,  // another segment of the same name goes on with the sequence
};

/// The start of a segment. What is above `tail_intent` never changes once the segment has a name.
struct RingHeader {
    std::uint64_t magic = RING_MAGIC;
    std::uint32_t layout_version = RING_LAYOUT_VERSION;
    std::uint32_t header_bytes = 0;
    std::uint64_t capacity = 0;  // records, a power of two
    std::uint32_t record_bytes = 0;
    std::uint32_t type_text_bytes = 0;
    std::uint64_t type_hash = 0;
    std::uint64_t first_sequence = 0;
    TimeNs created = 0;
    char topic[48] = {};
    char publisher[NAME_BYTES] = {};
    char type_text[TYPE_TEXT_BYTES_MAX] = {};

    alignas(128) Word tail_intent{0};  // sequences below may be being written; never lowered
    // On a line of its own, which waiting readers poll: a store to `tail_intent` beside it would
    // wait until they let go of it, and the store to `tail` behind it once more.
    alignas(128) Word tail{0};  // sequences below are published
    alignas(128) std::atomic<std::uint32_t> state{0};
    std::atomic<std::uint32_t> remote_fence{0};  // 1: the publisher passes readers' membarriers
    Word generation{0};
    std::atomic<std::int64_t> pid{0};
    alignas(128) std::atomic<std::int64_t> heartbeat_time{0};  // with tail: a Heartbeat record
    Word heartbeat_count{0};
    alignas(128) Word batch_count{0};
    Word wake_count{0};
    // Of the first of the rings that replaced each other up to this one; 0: not known. A subscriber
    // that was there before has missed what came before this ring.
    TimeNs origin_created = 0;
    std::uint64_t origin_sequence = 0;
};
inline constexpr std::size_t RING_HEADER_BYTES = 4096;
static_assert(sizeof(RingHeader) <= RING_HEADER_BYTES);

/// Records that fit into `bytes`: the largest power of two, at least RING_CAPACITY_MIN.
[[nodiscard]] std::uint64_t ring_capacity(std::size_t bytes, std::size_t record_bytes) noexcept;
[[nodiscard]] std::size_t ring_bytes(std::uint64_t capacity, std::size_t record_bytes) noexcept;

/// A ring in memory that somebody else owns: header, then slots.
class RingMemory {
public:
    RingMemory() = default;
    /// Makes a ring in zeroed memory of ring_bytes(), 128-byte aligned.
    static RingMemory create(std::byte* memory, std::uint64_t capacity, const RecordType& type,
                             std::uint64_t first_sequence);
    /// Takes memory as it was found. Throws segment_damaged when it is no ring that fits into
    /// `bytes`. Whatever a hostile writer does to it later, nothing outside is ever touched.
    static RingMemory open(std::byte* memory, std::size_t bytes);

    [[nodiscard]] RingHeader& header() const noexcept { return *header_; }
    [[nodiscard]] std::uint64_t capacity() const noexcept { return mask_ + 1; }
    [[nodiscard]] std::size_t record_bytes() const noexcept { return words_ * 8; }
    [[nodiscard]] std::size_t record_words() const noexcept { return words_; }
    [[nodiscard]] Word* slot(std::uint64_t sequence) const noexcept {
        return slots_ + (sequence & mask_) * words_;
    }
    /// Throws segment_damaged when the text is none.
    [[nodiscard]] RecordType type() const;

private:
    RingHeader* header_ = nullptr;
    Word* slots_ = nullptr;
    std::uint64_t mask_ = 0;
    std::size_t words_ = 0;
};

/// The one writer. Goes on where `tail` stands, which is how a successor takes over.
class RingWriter {
public:
    RingWriter() = default;
    explicit RingWriter(const RingMemory& ring) noexcept
        : ring_(ring),
          next_(ring.header().tail.load(std::memory_order_acquire)),
          intent_(ring.header().tail_intent.load(std::memory_order_relaxed)),
          ahead_(std::min(ring.capacity() / INTENT_SHARE, INTENT_AHEAD_MAX)) {}

    [[nodiscard]] std::uint64_t next_sequence() const noexcept { return next_; }
    /// A larger batch would leave readers no time to validate what they copy.
    [[nodiscard]] std::uint64_t batch_max() const noexcept { return ring_.capacity() / 2; }

    /// From here on the slots of the next `count` sequences may be written; count <= batch_max().
    void begin(std::uint64_t count) noexcept { begin_behind(next_, count); }
    /// As begin(), of sequences behind others that are not shown yet; all of them at most
    /// batch_max(). commit() of the earlier ones may run beside it on another thread.
    void begin_behind(std::uint64_t first, std::uint64_t count) noexcept {
        // A predecessor may have died with a higher intent, its slots half written. Lowering it
        // would tell readers that lag behind that those slots are whole.
        if (first + count > intent_) {
            intent_ = first + count + ahead_;
            ring_.header().tail_intent.store(intent_, std::memory_order_relaxed);
        }
        fence_release();
    }
    /// Shows them to the readers. `count` may be less than was begun.
    void commit(std::uint64_t count) noexcept {
        next_ += count;
        ring_.header().tail.store(next_, std::memory_order_release);
    }

    /// The record's bytes behind its header are taken from `record`, the header from `stamp`,
    /// where the sequence is filled in.
    void store(std::uint64_t sequence, const std::byte* record, MessageHeader& stamp) noexcept {
        constexpr std::size_t head = sizeof(MessageHeader) / 8;
        Word* const slot = ring_.slot(sequence);
        stamp.sequence = sequence;
        store_words(slot, reinterpret_cast<const std::byte*>(&stamp), head);
        store_words(slot + head, record + sizeof(MessageHeader), ring_.record_words() - head);
    }
    /// All bytes as they are: for records that bring their own sequence.
    void store_raw(std::uint64_t sequence, const std::byte* record) noexcept {
        store_words(ring_.slot(sequence), record, ring_.record_words());
    }
    /// For records that were written in place.
    void stamp(std::uint64_t sequence, MessageHeader& header) noexcept {
        header.sequence = sequence;
        store_words(ring_.slot(sequence), reinterpret_cast<const std::byte*>(&header),
                    sizeof(MessageHeader) / 8);
    }

    [[nodiscard]] const RingMemory& ring() const noexcept { return ring_; }

private:
    RingMemory ring_;
    std::uint64_t next_ = 0;
    std::uint64_t intent_ = 0;
    std::uint64_t ahead_ = 0;
};

/// A reader with a cursor of its own. `received + lost` is always the distance it has moved.
class RingReader {
public:
    RingReader() = default;
    RingReader(const RingMemory& ring, std::uint64_t cursor) noexcept
        : ring_(ring), cursor_(cursor), floor_(ring.header().first_sequence) {}

    [[nodiscard]] std::uint64_t cursor() const noexcept { return cursor_; }
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
    [[nodiscard]] const RingMemory& ring() const noexcept { return ring_; }

    /// Records that are published and not yet read or overwritten; more than the capacity when
    /// some of them are lost already.
    [[nodiscard]] std::uint64_t behind() const noexcept {
        const auto ahead = static_cast<std::int64_t>(
            ring_.header().tail.load(std::memory_order_acquire) - cursor_);
        return ahead > 0 ? static_cast<std::uint64_t>(ahead) : 0;
    }
    /// Asks for the lines of the next record. Who waits and has done so gets it together with
    /// the news that it is there, and not one trip between the caches later.
    void prefetch() const noexcept {
        const Word* const slot = ring_.slot(cursor_);
        const std::size_t words = std::min(ring_.record_words(), PREFETCH_WORDS_MAX);
        for (std::size_t i = 0; i < words; i += LINE_WORDS) __builtin_prefetch(slot + i);
    }
    /// The oldest sequence that was written here and that the writer has not come round to.
    [[nodiscard]] std::uint64_t oldest() const noexcept {
        const std::uint64_t intent = ring_.header().tail_intent.load(std::memory_order_relaxed);
        const std::uint64_t whole = intent > ring_.capacity() ? intent - ring_.capacity() : 0;
        return whole > floor_ ? whole : floor_;
    }

    /// Copies up to `count_max` records that follow each other to `to`: whole, in order. Records
    /// lost before them are added to `lost()`. 0: there is nothing.
    std::size_t read(std::byte* to, std::size_t count_max) noexcept;

    /// Up to `count_max` records where they lie, in at most two pieces; moves nothing. They are
    /// worth something only if `still_valid()` says so after they were used.
    struct View {
        std::uint64_t first = 0;  // sequence
        std::span<const std::byte> pieces[2];
        [[nodiscard]] std::size_t count(std::size_t record_bytes) const noexcept {
            return (pieces[0].size() + pieces[1].size()) / record_bytes;
        }
    };
    View peek(std::size_t count_max) noexcept;
    /// Whether no record from sequence `first` on has been overwritten since.
    [[nodiscard]] bool still_valid(std::uint64_t first) const noexcept {
        fence_acquire();
        return static_cast<std::int64_t>(oldest() - first) <= 0;
    }
    /// Goes past records that were peeked at.
    void advance(std::uint64_t count) noexcept { cursor_ += count; }
    /// Goes past records that were peeked at and then overwritten.
    void drop(std::uint64_t count) noexcept {
        cursor_ += count;
        lost_ += count;
    }

private:
    static constexpr std::size_t LINE_WORDS = 8;
    static constexpr std::size_t PREFETCH_WORDS_MAX = 4 * LINE_WORDS;

    bool skip_lost() noexcept;

    RingMemory ring_;
    std::uint64_t cursor_ = 0;
    std::uint64_t floor_ = 0;
    std::uint64_t lost_ = 0;
};

}  // namespace klineagg::bus
