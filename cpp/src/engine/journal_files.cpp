// Of the journal: what consumers have committed, as files beside the log.
#include <algorithm>

#include "klineagg/engine/journal.hpp"

namespace klineagg::engine {

namespace {

constexpr std::string_view SUFFIX = ".checkpoint";
constexpr std::string_view DAMAGED = ".damaged";  // behind the name of one that is set aside
constexpr std::size_t BYTES_MAX = std::size_t{1} << 34U;

/// A file's name that any name of a consumer can be read back from.
std::string file_name(const std::string& consumer) {
    constexpr std::string_view DIGITS = "0123456789abcdef";
    std::string name;
    for (const char each : consumer) {
        const auto byte = static_cast<unsigned char>(each);
        const bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                           (byte >= '0' && byte <= '9') || byte == '-';
        if (plain) {
            name += each;
            continue;
        }
        name += '_';
        name += DIGITS[byte >> 4U];
        name += DIGITS[byte & 15U];
    }
    return name.append(SUFFIX);
}

int digit_of(char each) noexcept {
    if (each >= '0' && each <= '9') return each - '0';
    return each >= 'a' && each <= 'f' ? each - 'a' + 10 : 0;
}

std::string consumer_of(std::string_view name) {
    name.remove_suffix(SUFFIX.size());
    std::string consumer;
    for (std::size_t i = 0; i < name.size(); ++i) {
        if (name[i] != '_' || i + 2 >= name.size()) {
            consumer += name[i];
            continue;
        }
        consumer += static_cast<char>(digit_of(name[i + 1]) * 16 + digit_of(name[i + 2]));
        i += 2;
    }
    return consumer;
}

std::vector<std::byte> read_file(FileSystem& files, const std::string& path) {
    const auto file = files.open(path, OpenMode::read);
    const std::uint64_t size = file->size();
    if (size > BYTES_MAX) return {};
    std::vector<std::byte> bytes(size);
    bytes.resize(file->read(0, bytes));
    return bytes;
}

}  // namespace

std::vector<CommittedFile> committed_files(FileSystem& files, const std::string& directory) {
    std::vector<CommittedFile> out;
    for (const std::string& name : files.list(directory)) {
        if (!name.ends_with(SUFFIX)) continue;
        const std::string path = std::string(directory).append("/").append(name);
        const std::vector<std::byte> bytes = read_file(files, path);
        CommittedFile file{consumer_of(name), {}, bytes.size()};
        try {
            if (const auto placed = get_placed(bytes)) file.position = placed->position;
        } catch (const Error& error) {
            if (error.code() != ErrorCode::checkpoint_format) throw;
        }
        out.push_back(std::move(file));
    }
    std::sort(out.begin(), out.end(), [](const CommittedFile& a, const CommittedFile& b) {
        return a.consumer < b.consumer;
    });
    return out;
}

std::vector<std::byte> first_checkpoint(FileSystem& files, const std::string& directory) {
    std::optional<CommittedFile> first;
    for (CommittedFile& each : committed_files(files, directory))
        if (each.position && (!first || *each.position < *first->position)) first = std::move(each);
    if (!first) return {};
    return read_file(files, directory + "/" + file_name(first->consumer));
}

std::string Journal::path_of(const std::string& consumer) const {
    return log_->directory() + "/" + file_name(consumer);
}

void Journal::read_committed() {
    FileSystem& files = *log_->files();
    for (const std::string& name : files.list(log_->directory())) {
        if (!name.ends_with(SUFFIX)) continue;
        const std::string path = log_->directory() + "/" + name;
        const std::vector<std::byte> bytes = read_file(files, path);
        try {
            const auto placed = get_placed(bytes);
            if (!placed) throw Error(ErrorCode::checkpoint_format, "it does not begin as one");
            // By the file's name: nobody asks for the consumer's here.
            committed_[name] = placed->position;
        } catch (const Error& error) {
            if (error.code() != ErrorCode::checkpoint_format) throw;
            if (log_->salvages()) {
                files.rename(path, path + std::string(DAMAGED));
                continue;
            }
            throw Error(ErrorCode::checkpoint_format,
                        path + " is damaged (" + error.what() +
                            "); without this file the engine begins with the checkpoint that it "
                            "is given, such as the lake's, or with the whole log",
                        {{"path", path},
                         {"hint", "salvage=True, or `klineagg run --salvage`, goes on without it"}});
        }
    }
    set_least();
}

void Journal::write_file(const std::string& path, const std::vector<std::byte>& placed) {
    FileSystem& files = *log_->files();
    const std::string temporary = path + std::string(wal::TEMPORARY_SUFFIX);
    {
        const auto file = files.open(temporary, OpenMode::create);
        file->write(0, placed);
        file->sync();
    }
    files.rename(temporary, path);
    files.sync_directory(log_->directory());
}

void Journal::set_least() {
    Sequence least = EVERYTHING;
    for (const auto& [name, position] : committed_) least = std::min(least, position);
    if (least != EVERYTHING) log_->set_committed(least);
}

void Journal::begin_with(const std::vector<std::byte>& placed) {
    const std::lock_guard lock(files_);
    write_file(path_of(""), placed);
    committed_[file_name("")] = 0;
}

void Journal::commit(const std::string& consumer, Sequence position,
                     const std::vector<std::byte>& placed) {
    const std::lock_guard lock(files_);
    try {
        write_file(path_of(consumer), placed);
        committed_[file_name(consumer)] = position;
        // What the log began with is behind everybody who commits.
        if (!consumer.empty()) remove_file("");
    } catch (const Error&) {
        // Nothing is lost by that: the log keeps what the older file needs.
        failures_.fetch_add(1);
    }
    set_least();
}

void Journal::forget(const std::string& consumer) {
    const std::lock_guard lock(files_);
    if (remove_file(consumer)) set_least();
}

bool Journal::remove_file(const std::string& consumer) {
    const auto at = committed_.find(file_name(consumer));
    if (at == committed_.end()) return false;
    // First the file: as long as it is there an engine begins with it, and needs the log behind it.
    log_->files()->remove(path_of(consumer));
    committed_.erase(at);
    return true;
}

void Journal::hold_back(Sequence position) {
    const std::lock_guard lock(files_);
    const auto at = std::find_if(committed_.begin(), committed_.end(),
                                 [&](const auto& each) { return each.second == position; });
    if (at == committed_.end()) return;
    const std::string folder = log_->directory() + "/";
    const std::vector<std::byte> bytes = read_file(*log_->files(), folder + at->first);
    for (auto& [name, committed] : committed_) {
        if (committed <= position) continue;
        write_file(folder + name, bytes);
        committed = position;
    }
}

std::vector<std::byte> Journal::oldest_checkpoint() {
    const std::lock_guard lock(files_);
    const auto least = std::min_element(
        committed_.begin(), committed_.end(),
        [](const auto& a, const auto& b) { return a.second < b.second; });
    if (least == committed_.end()) return {};
    return read_file(*log_->files(), log_->directory() + "/" + least->first);
}

}  // namespace klineagg::engine
