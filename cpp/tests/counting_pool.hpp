// A pool of blocks that knows how many are out.
#pragma once

#include <cstdint>
#include <new>

#include "klineagg/block_pool.hpp"

namespace klineagg::test {

/// Counts the blocks that are out; all from the heap, so that a sanitizer sees each use.
class CountingPool final : public BlockPool {
public:
    ~CountingPool() = default;
    void* take() override {
        ++out;
        ++taken;
        return ::operator new(BLOCK_BYTES, std::align_val_t{BLOCK_ALIGN});
    }
    void give(void* block) noexcept override {
        --out;
        ::operator delete(block, std::align_val_t{BLOCK_ALIGN});
    }
    std::int64_t out = 0;
    std::int64_t taken = 0;
};

}  // namespace klineagg::test
