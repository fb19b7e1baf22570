#include "klineagg/engine/row_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <utility>

namespace klineagg::engine {

namespace {

/// -1: the system refuses.
int open_nameless(const std::string& folder) {
#ifdef O_TMPFILE
    const int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0) return file;
#endif
    // A file system that cannot do that.
    std::string path = folder + "/.klineagg-rows-XXXXXX";
    const int made = ::mkstemp(path.data());
    if (made < 0) return -1;
    (void)::unlink(path.c_str());
    (void)::fcntl(made, F_SETFD, FD_CLOEXEC);
    return made;
}

}  // namespace

RowFile::RowFile(std::string folder, std::size_t block_bytes)
    : folder_(std::move(folder)), block_bytes_(block_bytes) {}

RowFile::~RowFile() {
    for (const auto& [place, at] : at_) ::munmap(const_cast<void*>(place), block_bytes_);
    if (file_ >= 0) ::close(file_);
}

const void* RowFile::write(const void* block, std::uint64_t at) noexcept {
    const auto offset = static_cast<off_t>(at * block_bytes_);
    for (std::size_t done = 0; done < block_bytes_;) {
        const ssize_t count = ::pwrite(file_, static_cast<const char*>(block) + done,
                                       block_bytes_ - done, offset + static_cast<off_t>(done));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return nullptr;
        done += static_cast<std::size_t>(count);
    }
    // Its pages are there: reading them cannot find the disk full.
    void* const place = ::mmap(nullptr, block_bytes_, PROT_READ, MAP_SHARED, file_, offset);
    return place == MAP_FAILED ? nullptr : place;
}

const void* RowFile::put(const void* block) noexcept {
    try {
        if (file_ < 0) file_ = open_nameless(folder_);
        if (file_ < 0) return nullptr;
        if (free_.empty()) {
            free_.reserve(end_ + 1);  // so that taking one back never allocates
            free_.push_back(end_++);
        }
        at_.reserve(at_.size() + 1);
        const std::uint64_t at = free_.back();
        const void* const place = write(block, at);
        if (place == nullptr) return nullptr;
        free_.pop_back();
        try {
            at_.emplace(place, at);
        } catch (...) {
            free_.push_back(at);
            ::munmap(const_cast<void*>(place), block_bytes_);
            throw;
        }
        return place;
    } catch (const std::exception&) {  // no memory for what is known of it
        return nullptr;
    }
}

void RowFile::take_back(const void* place) noexcept {
    const auto found = at_.find(place);
    if (found == at_.end()) return;
    const std::uint64_t at = found->second;
    at_.erase(found);
    ::munmap(const_cast<void*>(place), block_bytes_);
    free_.push_back(at);
    if (at_.empty()) {
        (void)::ftruncate(file_, 0);
        free_.clear();
        end_ = 0;
        return;
    }
#ifdef FALLOC_FL_PUNCH_HOLE
    (void)::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      static_cast<off_t>(at * block_bytes_), static_cast<off_t>(block_bytes_));
#endif
}

}  // namespace klineagg::engine
