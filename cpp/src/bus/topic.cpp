#include "klineagg/bus/topic.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "klineagg/error.hpp"

namespace klineagg::bus {
namespace {

constexpr std::uint64_t TOPIC_MAGIC = 0x3143504f544b414cu;  // "LAKTOPC1"
constexpr std::uint32_t TOPIC_LAYOUT_VERSION = 2;
constexpr std::string_view TOPIC_SUFFIX = ".topic";
constexpr std::string_view RING_SUFFIX = ".ring";
constexpr std::string_view NOTE_SUFFIX = ".last";

// Of the control segment, behind those of the subscribers, which have one each.
constexpr std::int64_t USE_BYTE = SUBSCRIBERS_LISTED + 2;
constexpr std::int64_t TURN_BYTE = SUBSCRIBERS_LISTED + 1;
constexpr DurationNs PATIENCE_NS = 5 * NS_PER_SECOND;
constexpr std::chrono::microseconds TURN_SLEEP{200};

std::string topic_path(const std::string& folder, const std::string& name) {
    return folder + "/" + name + std::string(TOPIC_SUFFIX);
}

void check_text(std::string_view name, std::size_t bytes_max, bool dots, const char* what) {
    const auto fine = [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-' || (dots && c == '.');
    };
    if (name.empty() || name.size() > bytes_max || name.front() == '.' || name.back() == '.' ||
        !std::all_of(name.begin(), name.end(), fine)) {
        throw Error(ErrorCode::bus_name,
                    std::string("the name of a ") + what + " has 1 to " +
                        std::to_string(bytes_max) + " letters, digits, '_' and '-', not '" +
                        std::string(name) + "'",
                    {{"name", std::string(name)}});
    }
}

bool is_open_to(const struct stat& status, gid_t group) noexcept {
    return status.st_gid == group && (status.st_mode & S_IRWXG) == S_IRWXG;
}

std::vector<std::string> names_between(const std::string& folder, std::string_view prefix,
                                       std::string_view suffix) {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        const std::string file = entry.path().filename().string();
        if (file.size() > prefix.size() + suffix.size() && file.starts_with(prefix) &&
            file.ends_with(suffix))
            names.push_back(file.substr(prefix.size(), file.size() - prefix.size() - suffix.size()));
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace

TimeNs utc_now() noexcept { return engine::SystemClock().now(); }

void check_topic(std::string_view name) { check_text(name, TOPIC_BYTES, true, "topic"); }
void check_name(std::string_view name) { check_text(name, NAME_BYTES, false, "publisher or subscriber"); }

std::string Folder::default_path() {
    std::error_code error;
    const std::filesystem::path memory("/dev/shm");
    const bool there = std::filesystem::is_directory(memory, error);
    const auto base = there ? memory : std::filesystem::temp_directory_path();
    return (base / ("klineagg-" + std::to_string(geteuid()))).string();
}

Folder::Folder(const std::string& path, Access access)
    : path_(path.empty() ? default_path() : path), access_(access) {
    const auto fail = [&](const std::string& what) {
        throw Error(ErrorCode::bus_unavailable, "the folder of the bus " + path_ + " " + what,
                    {{"path", path_}});
    };
    if (mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST)
        fail(std::string("cannot be made: ") + std::strerror(errno));  // NOLINT
    struct stat status {};
    const auto look = [&] {
        if (lstat(path_.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) fail("is no folder");
    };
    look();
    const auto group = static_cast<gid_t>(access_.group);
    if (access_.group >= 0 && status.st_uid == geteuid() && !is_open_to(status, group)) {
        std::error_code error;
        const bool is_empty = std::filesystem::is_empty(path_, error) && !error;
        if (is_empty && (chown(path_.c_str(), static_cast<uid_t>(-1), group) != 0 ||
                         chmod(path_.c_str(), 0770) != 0))
            fail("cannot be given to its group");
        look();  // others may have given it to the group meanwhile
        // The segments in it would stay the owner's own.
        if (!is_open_to(status, group))
            fail("is not empty, and not open to the group " + std::to_string(group) +
                 ": empty it, or take another one");
    }
    const bool of_group = access_.group >= 0 && status.st_gid == group;
    if (of_group && !is_open_to(status, group)) fail("is not open to its group");
    if (status.st_uid != geteuid() && !of_group) fail("belongs to another user");
    if ((status.st_mode & S_IWOTH) != 0) fail("can be written by everybody");
}

std::vector<std::string> Folder::topics() const { return names_between(path_, "", TOPIC_SUFFIX); }

Topic::Topic(const Folder& folder, std::string name) : folder_(folder), name_(std::move(name)) {
    check_topic(name_);
    path_ = topic_path(folder_.path(), name_);
    const engine::MonotonicNs patience = engine::deadline_after(PATIENCE_NS);
    while (!open() && !make()) {
        if (engine::monotonic_ns() > patience) {
            throw Error(ErrorCode::bus_unavailable, "somebody has been removing " + path_ +
                        " for seconds", {{"path", path_}});
        }
        std::this_thread::sleep_for(TURN_SLEEP);
    }
    header_ = reinterpret_cast<TopicHeader*>(file_.data());
    if (file_.size() < sizeof(TopicHeader) || header_->magic != TOPIC_MAGIC ||
        header_->layout_version != TOPIC_LAYOUT_VERSION ||
        header_->listed != SUBSCRIBERS_LISTED) {
        throw Error(ErrorCode::segment_damaged, path_ + " is no topic of this version",
                    {{"path", path_}});
    }
}

bool Topic::open() {
    auto found = MappedFile::open(path_, true);
    if (!found) return false;
    use_ = FileLock::try_lock(path_, USE_BYTE, FileLock::Kind::shared);
    if (!use_.held() || !use_.is_at(path_) || !found->is_at(path_)) {
        use_.release();
        return false;
    }
    file_ = std::move(*found);
    return true;
}

bool Topic::make() {
    if (::access(path_.c_str(), F_OK) == 0) return false;
    // Whole before it has its name; of several makers at once the first one's is taken.
    // Two threads of a process are two makers.
    const std::string draft = path_ + "." + std::to_string(getpid()) + "-" +
                              std::to_string(reinterpret_cast<std::uintptr_t>(this)) + ".new";
    ::unlink(draft.c_str());
    MappedFile made = MappedFile::create(draft, sizeof(TopicHeader), folder_.access(), true);
    auto* const header = new (made.data()) TopicHeader;
    header->magic = TOPIC_MAGIC;
    header->layout_version = TOPIC_LAYOUT_VERSION;
    header->listed = SUBSCRIBERS_LISTED;
    std::memcpy(header->topic, name_.data(), name_.size());
    use_ = FileLock::try_lock(draft, USE_BYTE, FileLock::Kind::shared);
    const bool named = ::link(draft.c_str(), path_.c_str()) == 0;
    ::unlink(draft.c_str());
    if (named) {
        file_ = std::move(made);
    } else {
        use_.release();
    }
    return named;
}

FileLock Topic::take_turn() const {
    const engine::MonotonicNs patience = engine::deadline_after(PATIENCE_NS);
    while (true) {
        FileLock turn = FileLock::try_lock(path_, TURN_BYTE);
        if (turn.held()) return turn;
        if (engine::monotonic_ns() > patience) {
            throw Error(ErrorCode::bus_unavailable,
                        "another publisher of the topic " + name_ +
                            " has been starting for seconds",
                        {{"topic", name_}});
        }
        std::this_thread::sleep_for(TURN_SLEEP);
    }
}

TopicTaken::TopicTaken(const Folder& folder, std::string name)
    : folder_(folder.path()), name_(std::move(name)), path_(topic_path(folder_, name_)) {
    lock_ = FileLock::try_lock_all(path_);
    if (lock_.held() && !lock_.is_at(path_)) lock_.release();
}

bool TopicTaken::remove() const {
    // Rings come from those who have the topic open, so none comes now.
    return names_between(folder_, name_ + "@", RING_SUFFIX).empty() &&
           ::unlink(path_.c_str()) == 0;
}

// A topic's name may have dots, a publisher's may not: '@' parts the two without doubt.
std::string Topic::ring_path(std::string_view publisher) const {
    return folder_.path() + "/" + name_ + "@" + std::string(publisher) + std::string(RING_SUFFIX);
}

std::string Topic::tombstone_path(std::string_view publisher) const {
    return folder_.path() + "/" + name_ + "@" + std::string(publisher) + std::string(NOTE_SUFFIX);
}

std::vector<std::string> Topic::publishers() const {
    return names_between(folder_.path(), name_ + "@", RING_SUFFIX);
}

std::vector<std::string> Topic::departed() const {
    return names_between(folder_.path(), name_ + "@", NOTE_SUFFIX);
}

}  // namespace klineagg::bus
