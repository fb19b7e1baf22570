// A topic: a folder's share of segments. One control segment holds the words for waiting and the
// table of subscribers, which readers write; each publisher has a ring, which they cannot.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "klineagg/bus/records.hpp"
#include "klineagg/bus/segment.hpp"
#include "klineagg/bus/words.hpp"
#include "klineagg/engine/clock.hpp"
#include "klineagg/engine/wait.hpp"

namespace klineagg::bus {

inline constexpr std::size_t TOPIC_BYTES = 47;
inline constexpr std::size_t SUBSCRIBERS_LISTED = 2048;
inline constexpr std::size_t PUBLISHERS_MAX = 10;  // of one topic

/// Where the segments are: a folder that belongs to one user (and the group he names).
class Folder {
public:
    /// An empty `path` is the user's default. Makes it if it is not there. Throws bus_unavailable,
    /// also when it belongs to somebody else, who could put anything into it.
    explicit Folder(const std::string& path = {}, Access access = {});
    [[nodiscard]] static std::string default_path();

    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] const Access& access() const noexcept { return access_; }
    [[nodiscard]] std::vector<std::string> topics() const;

private:
    std::string path_;
    Access access_;
};

/// Where a subscriber is in one publisher's ring.
struct SubscriberPlace {
    Word publisher{0};  // hash of the name; 0: free
    Word next{0};       // the next sequence it will take
};

/// What a subscriber shows of itself; written by it alone.
struct alignas(128) SubscriberEntry {
    char name[NAME_BYTES] = {};
    std::atomic<std::int64_t> pid{0};
    std::atomic<std::int64_t> joined{0};
    Word received{0};
    Word lost{0};
    Word duplicates{0};
    std::atomic<std::int64_t> seen{0};  // when it last looked
    Word type_hash{0};                  // of its records; 0: it has no places yet
    // Who asks how far it is behind compares these with the rings as they are then: a number that
    // it wrote itself would stand still when it hangs.
    SubscriberPlace places[PUBLISHERS_MAX];
};
static_assert(sizeof(SubscriberEntry) == 256);

struct TopicHeader {
    std::uint64_t magic = 0;
    std::uint32_t layout_version = 0;
    std::uint32_t listed = 0;
    char topic[48] = {};
    // (epoch << 1) | somebody is parked. Readers wait until it changes.
    alignas(128) std::atomic<std::uint32_t> wait_word{0};
    // Rises when a publisher comes, goes or is replaced: readers look at the folder again.
    alignas(128) std::atomic<std::uint32_t> roster{0};
    alignas(128) SubscriberEntry subscribers[SUBSCRIBERS_LISTED];
};

/// Copies of the entries in use.
struct SubscriberInfo {
    std::string name;
    std::int64_t pid = 0;
    TimeNs joined = 0;
    TimeNs seen = 0;
    std::uint64_t received = 0;
    std::uint64_t lost = 0;
    std::uint64_t behind = 0;  // now, whenever it last looked
    double fill = 0.0;  // of the ring that is fullest of what it has not received; beyond 1: lost
    std::uint64_t duplicates = 0;
};

/// Throws bus_name unless it is letters, digits, '_', '-' and, in topics, '.' within.
void check_topic(std::string_view name);
void check_name(std::string_view name);

class Topic {
public:
    /// Opens the control segment, or makes it.
    Topic(const Folder& folder, std::string name);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const Folder& folder() const noexcept { return folder_; }
    [[nodiscard]] TopicHeader& header() const noexcept { return *header_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::string ring_path(std::string_view publisher) const;
    /// Of a publisher whose segment was removed: where its sequence goes on.
    [[nodiscard]] std::string tombstone_path(std::string_view publisher) const;
    /// Names with a ring here, sorted.
    [[nodiscard]] std::vector<std::string> publishers() const;
    /// Names whose ring was removed, sorted.
    [[nodiscard]] std::vector<std::string> departed() const;
    [[nodiscard]] std::vector<SubscriberInfo> subscribers() const;

    /// Of publishers that start: one at a time counts the others and takes its place. Throws
    /// bus_unavailable when somebody has it for seconds.
    [[nodiscard]] FileLock take_turn() const;

    // --- Waiting ---

    /// Of a publisher, behind its store of the tail. One load as long as nobody is parked;
    /// `remote_fence` says that readers' membarriers reach this process. True when it woke some.
    bool notify(bool remote_fence) noexcept {
        std::atomic<std::uint32_t>& word = header_->wait_word;
        if (remote_fence) {
            std::atomic_signal_fence(std::memory_order_seq_cst);
            if ((word.load(std::memory_order_relaxed) & 1) == 0) [[likely]] return false;
        } else if ((word.fetch_add(0, std::memory_order_seq_cst) & 1) == 0) {
            return false;
        }
        wake();
        return true;
    }
    void roster_changed() noexcept;
    /// Sleeps until a notify() that came after the call, `deadline`, or for no reason.
    /// `has_work` is asked after the announcement, so that nothing is missed. `remote_fence`: all
    /// publishers that may notify have registered for it.
    void park(const std::function<bool()>& has_work, engine::MonotonicNs deadline,
              bool remote_fence) noexcept;
    /// A publisher asks once whether membarriers of other processes reach this one.
    static bool register_remote_fence() noexcept;

    /// Nobody uses it here any more: others may remove it. What is mapped stays readable.
    void leave() noexcept { use_.release(); }

private:
    friend class SubscriberSeat;
    void wake() noexcept;

    Folder folder_;
    std::string name_;
    /// False: it was removed meanwhile, or is being removed.
    bool open();
    bool make();

    std::string path_;
    FileLock use_;  // shared by all who have it open: nobody removes it under them
    MappedFile file_;
    TopicHeader* header_ = nullptr;
};

/// A topic that nobody has open, and nobody can open as long as this is there.
class TopicTaken {
public:
    TopicTaken(const Folder& folder, std::string name);
    /// False: there is none, or somebody has it open.
    [[nodiscard]] bool held() const noexcept { return lock_.held(); }
    /// Removes its control segment, unless there are rings.
    bool remove() const;

private:
    std::string folder_;
    std::string name_;
    std::string path_;
    FileLock lock_;
};

/// A subscriber's line in the table; free for others when it is dropped or its process dies. All
/// lines taken: an invisible line, since counting must not stop anybody from receiving.
class SubscriberSeat {
public:
    SubscriberSeat(const Topic& topic, std::string_view name);
    ~SubscriberSeat() { leave(); }
    SubscriberSeat(const SubscriberSeat&) = delete;
    SubscriberSeat& operator=(const SubscriberSeat&) = delete;
    /// Gives the line to others; places taken before must not be written to any more.
    void leave() noexcept;
    [[nodiscard]] SubscriberEntry& entry() noexcept { return *entry_; }
    /// For the position in this publisher's ring. None when all are taken.
    [[nodiscard]] SubscriberPlace* take_place(std::string_view publisher,
                                              std::uint64_t next) noexcept;

private:
    SubscriberEntry own_;
    SubscriberEntry* entry_ = &own_;
    FileLock lock_;
};

[[nodiscard]] TimeNs utc_now() noexcept;

}  // namespace klineagg::bus
