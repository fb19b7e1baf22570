#include "klineagg/bus/cleanup.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "klineagg/bus/ring.hpp"
#include "klineagg/bus/tombstone.hpp"
#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr DurationNs DRAFT_AGE = 10 * NS_PER_SECOND;  // who makes a file does not take so long

bool is_older(const std::string& path, DurationNs age) noexcept {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return false;
    const TimeNs written = status.st_mtim.tv_sec * NS_PER_SECOND + status.st_mtim.tv_nsec;
    return utc_now() - written >= age;
}

std::vector<std::string> files_in(const Folder& folder) {
    std::vector<std::string> files;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path(), error))
        files.push_back(entry.path().filename().string());
    return files;
}

/// Whole and of this version, or nothing: a damaged segment has no sequence to go on with.
std::optional<RingMemory> ring_in(const MappedFile& file) noexcept {
    try {
        return RingMemory::open(file.data(), file.size());
    } catch (const Error&) {
        return std::nullopt;
    }
}

bool removed_orphan(const Topic& topic, const std::string& name, DurationNs orphan_after) {
    const std::string path = topic.ring_path(name);
    if (FileLock::is_locked(path)) return false;
    const auto file = MappedFile::open(path, false);
    if (!file) return false;
    const auto ring = ring_in(*file);
    if (!ring) return false;  // not ours to remove
    const TimeNs seen = ring->header().heartbeat_time.load(std::memory_order_relaxed);
    if (utc_now() - seen < orphan_after) return false;
    const FileLock lock = FileLock::try_lock(path);
    if (!lock.held() || !lock.is_at(path) || !file->is_at(path)) return false;
    // First the note, then the removal: the sequence must not begin anew after a crash between.
    Tombstone::of(ring->header()).write(topic.tombstone_path(name), topic.folder().access());
    return ::unlink(path.c_str()) == 0;
}

/// Files that their makers died over; an empty `topic`: of all.
std::size_t remove_drafts(const Folder& folder, const std::string& topic) {
    std::size_t removed = 0;
    for (const std::string& file : files_in(folder)) {
        const bool is_ours = topic.empty() ? file.find('@') != std::string::npos ||
                                                 file.find(".topic.") != std::string::npos
                                           : file.starts_with(topic + "@") ||
                                                 file.starts_with(topic + ".topic.");
        const std::string path = folder.path() + "/" + file;
        if (is_ours && file.ends_with(".new") && is_older(path, DRAFT_AGE) &&
            !FileLock::is_locked(path))
            removed += ::unlink(path.c_str()) == 0 ? 1U : 0U;
    }
    return removed;
}

std::size_t remove_rings(Topic& topic, DurationNs orphan_after) {
    std::size_t removed = 0;
    for (const std::string& name : topic.publishers())
        removed += removed_orphan(topic, name, orphan_after) ? 1U : 0U;
    if (removed != 0) topic.roster_changed();
    return removed;
}

/// Topics with any file here, also those whose control segment is gone.
std::set<std::string> topics_in(const std::vector<std::string>& files, const char* suffix) {
    std::set<std::string> topics;
    for (const std::string& file : files) {
        const std::size_t at = file.find('@');
        if (at != std::string::npos && at != 0 && file.ends_with(suffix))
            topics.insert(file.substr(0, at));
    }
    return topics;
}

/// Calls `act` for each topic that lets it; another user's files may not.
template <class Act>
std::size_t for_each(const std::set<std::string>& topics, Act&& act) {
    std::size_t removed = 0;
    for (const std::string& topic : topics) {
        try {
            removed += act(topic);
        } catch (const Error&) {
            continue;
        }
    }
    return removed;
}

}  // namespace

std::size_t remove_orphans(Topic& topic, DurationNs orphan_after) {
    return remove_drafts(topic.folder(), topic.name()) + remove_rings(topic, orphan_after);
}

std::size_t clean_folder(const Folder& folder, DurationNs orphan_after) {
    std::size_t removed = remove_drafts(folder, "");
    removed += for_each(topics_in(files_in(folder), ".ring"), [&](const std::string& name) {
        Topic topic(folder, name);
        return remove_rings(topic, orphan_after);
    });
    const std::vector<std::string> left = folder.topics();
    return removed + for_each({left.begin(), left.end()}, [&](const std::string& name) {
        const TopicTaken taken(folder, name);
        return taken.held() && taken.remove() ? std::size_t{1} : std::size_t{0};
    });
}

std::size_t forget_sequences(const Folder& folder, DurationNs older_than) {
    return for_each(topics_in(files_in(folder), ".last"), [&](const std::string& name) {
        // Made if it is not there: nobody can open the topic, and read a note, meanwhile.
        { const Topic topic(folder, name); }
        const TopicTaken taken(folder, name);
        std::size_t removed = 0;
        if (!taken.held()) return removed;
        for (const std::string& file : files_in(folder)) {
            const std::string path = folder.path() + "/" + file;
            if (file.starts_with(name + "@") && file.ends_with(".last") &&
                is_older(path, older_than))
                removed += ::unlink(path.c_str()) == 0 ? 1U : 0U;
        }
        (void)taken.remove();
        return removed;
    });
}

}  // namespace klineagg::bus
