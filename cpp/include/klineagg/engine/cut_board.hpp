// How far each producer's rows are complete: what lets a cut go through all lanes of a producer
// between two of its rows, without waiting for anybody.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace klineagg::engine {

inline constexpr std::size_t WORKERS_MAX = 64;

/// A producer commits its rows to all lanes at once: workers apply what is committed and no more.
/// Otherwise one worker could be past a row whose predecessor another one has not got yet, and
/// no cut could be laid before both.
///
/// One writer. Readers never block it and are not blocked by a writer that was stopped midway.
class CutBoard {
public:
    using Positions = std::array<std::uint64_t, WORKERS_MAX>;

    /// Shows the positions of the lanes of workers [0, count). One thread at a time.
    void commit(const Positions& positions, std::size_t count) noexcept {
        const std::uint64_t next = sequence_.load(std::memory_order_relaxed) + 1;
        Copy& copy = copies_[next % COPIES];
        // Release: who reads one of these has also the sequence number of the commit before, and
        // so can tell that its copy is being written over.
        for (std::size_t i = 0; i < count; ++i)
            copy.positions[i].store(positions[i], std::memory_order_release);
        // Gates of lanes and all loads of this number are in one order (see Intake::limit), which
        // puts whoever still read the number before ahead of whoever reads this one. The store
        // itself need not be part of it: a fence here would wait for every line that the row was
        // written to, some of which come from the worker's core.
        sequence_.store(next, std::memory_order_release);
    }

    [[nodiscard]] std::uint64_t sequence() const noexcept {
        return sequence_.load(std::memory_order_seq_cst);
    }

    /// What is committed to one lane.
    [[nodiscard]] std::uint64_t position(std::size_t worker) const noexcept {
        while (true) {
            const std::uint64_t at = sequence();
            const std::uint64_t position =
                copies_[at % COPIES].positions[worker].load(std::memory_order_acquire);
            if (is_intact(at)) return position;
        }
    }

    /// The positions of one commit, and its number.
    std::uint64_t read(Positions& positions, std::size_t count) const noexcept {
        while (true) {
            const std::uint64_t at = sequence();
            for (std::size_t i = 0; i < count; ++i)
                positions[i] = copies_[at % COPIES].positions[i].load(std::memory_order_acquire);
            if (is_intact(at)) return at;
        }
    }

private:
    // Several, so that a reader is not overtaken by a producer of single rows.
    static constexpr std::size_t COPIES = 8;
    struct alignas(128) Copy {
        std::array<std::atomic<std::uint64_t>, WORKERS_MAX> positions{};
    };

    [[nodiscard]] bool is_intact(std::uint64_t at) const noexcept {
        return sequence() - at < COPIES - 1;
    }

    alignas(128) std::atomic<std::uint64_t> sequence_{0};
    std::array<Copy, COPIES> copies_{};
};

}  // namespace klineagg::engine
