// Blocks of trades that are in the log and wait until it has accepted them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "klineagg/engine/intake.hpp"

namespace klineagg::engine {

/// First in, first out; of one worker.
class WaitingBlocks {
public:
    struct Block {
        Intake* intake = nullptr;    // none: holes that were set aside
        std::uint64_t position = 0;  // of the lane, behind its last row
        std::size_t rows = 0;        // none: holes
        std::uint64_t first = 0;     // numbers in the log
        std::uint64_t last = 0;
        TimeNs time = 0;
        HoleTable* holes = nullptr;
    };

    WaitingBlocks(std::size_t blocks, std::size_t rows)
        : rows_(rows), blocks_(blocks), records_(blocks * rows) {}

    [[nodiscard]] bool is_empty() const noexcept { return begin_ == end_; }
    [[nodiscard]] bool is_full() const noexcept { return end_ - begin_ == blocks_.size(); }
    /// Where the next block goes, while it is not full; push() makes it the last one.
    [[nodiscard]] Block& next() noexcept { return blocks_[end_ % blocks_.size()]; }
    [[nodiscard]] std::span<LaneRecord> room() noexcept { return at(end_).first(rows_); }
    void push() noexcept { ++end_; }
    [[nodiscard]] Block& front() noexcept { return blocks_[begin_ % blocks_.size()]; }
    [[nodiscard]] const Block& front() const noexcept { return blocks_[begin_ % blocks_.size()]; }
    [[nodiscard]] std::span<const LaneRecord> front_rows() noexcept {
        return at(begin_).first(front().rows);
    }
    void pop() noexcept { ++begin_; }
    [[nodiscard]] std::size_t bytes() const noexcept {
        return blocks_.capacity() * sizeof blocks_[0] + records_.capacity() * sizeof records_[0];
    }

private:
    [[nodiscard]] std::span<LaneRecord> at(std::size_t number) noexcept {
        return std::span(records_).subspan(number % blocks_.size() * rows_, rows_);
    }

    std::size_t rows_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::vector<Block> blocks_;
    std::vector<LaneRecord> records_;
};

}  // namespace klineagg::engine
