// Rows that memory has no room for, in a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace klineagg::engine {

/// Blocks of one size in a file without a name: it is gone with its owner, however that ends. What
/// is in it is read as memory is, and costs none while nobody reads it.
class RowFile {
public:
    /// The file is made with the first block. `block_bytes`: whole pages.
    RowFile(std::string folder, std::size_t block_bytes);
    ~RowFile();
    RowFile(const RowFile&) = delete;
    RowFile& operator=(const RowFile&) = delete;

    /// Writes a block down. Returns where it can be read until take_back(); nullptr when the system
    /// refuses: a full disk, a folder that is gone.
    [[nodiscard]] const void* put(const void* block) noexcept;
    /// Nobody reads the block at `place` any more: its room in the file is given back.
    void take_back(const void* place) noexcept;
    /// In the file.
    [[nodiscard]] std::size_t blocks() const noexcept { return at_.size(); }

private:
    [[nodiscard]] const void* write(const void* block, std::uint64_t at) noexcept;

    std::string folder_;
    std::size_t block_bytes_;
    int file_ = -1;
    std::uint64_t end_ = 0;                                  // of the file, in blocks
    std::vector<std::uint64_t> free_;                        // blocks below the end without content
    std::unordered_map<const void*, std::uint64_t> at_;      // by where they are read
};

}  // namespace klineagg::engine
