// From symbol ids to the slot and worker that a symbol's trades go to.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace klineagg::engine {

struct Route {
    std::uint32_t slot = 0;
    std::uint16_t worker = 0;
};

/// Read by every producer for every row, without a lock. Interned ids are dense and small; other
/// people's ids may be anything, and those far off cost a lock.
class RouteTable {
public:
    static constexpr std::uint32_t LEAF_BITS = 12;
    static constexpr std::uint32_t LEAF = 1U << LEAF_BITS;
    static constexpr std::uint32_t LEAVES = 1U << 12U;
    static constexpr std::uint64_t EMPTY = 0;

    RouteTable();
    ~RouteTable();
    RouteTable(const RouteTable&) = delete;
    RouteTable& operator=(const RouteTable&) = delete;

    /// The packed route, EMPTY for none.
    [[nodiscard]] std::uint64_t find(std::int32_t symbol) const noexcept {
        const auto id = static_cast<std::uint32_t>(symbol);
        if (id < LEAF * LEAVES) [[likely]] {
            const Leaf* leaf = leaves_[id >> LEAF_BITS].load(std::memory_order_acquire);
            if (leaf == nullptr) return EMPTY;
            // Acquire: what made the slot is visible to the one who routes to it.
            return (*leaf)[id & (LEAF - 1)].load(std::memory_order_acquire);
        }
        return find_far(id);
    }

    static bool is_route(std::uint64_t packed) noexcept { return (packed >> 63U) != 0; }
    static Route unpack(std::uint64_t packed) noexcept {
        return {static_cast<std::uint32_t>(packed), static_cast<std::uint16_t>(packed >> 32U)};
    }
    static std::uint64_t pack(Route route) noexcept {
        return (std::uint64_t{1} << 63U) | (std::uint64_t{route.worker} << 32U) | route.slot;
    }

    /// The route of a symbol; `make()` gives one to a symbol that has none, once, whoever asks.
    template <class Make>
    Route find_or_make(std::int32_t symbol, Make&& make) {
        std::atomic<std::uint64_t>& entry = entry_of(symbol);
        std::uint64_t seen = entry.load(std::memory_order_acquire);
        while (seen == EMPTY || seen == CLAIMED) {
            if (seen == EMPTY && entry.compare_exchange_weak(seen, CLAIMED)) {
                try {
                    seen = pack(make());
                } catch (...) {
                    entry.store(EMPTY, std::memory_order_release);
                    throw;
                }
                entry.store(seen, std::memory_order_release);
            } else if (seen == CLAIMED) {
                // The other one is between a few loads and stores.
                seen = entry.load(std::memory_order_acquire);
            }
        }
        return unpack(seen);
    }

    /// Whoever asks for the symbol's route waits from here on until it is set or erased.
    void claim(std::int32_t symbol) {
        entry_of(symbol).store(CLAIMED, std::memory_order_release);
    }
    /// The packed route, EMPTY for none; waits while it is claimed.
    [[nodiscard]] std::uint64_t find_settled(std::int32_t symbol) const noexcept {
        std::uint64_t seen = find(symbol);
        while (seen == CLAIMED) seen = find(symbol);
        return seen;
    }
    void set(std::int32_t symbol, Route route) {
        entry_of(symbol).store(pack(route), std::memory_order_release);
    }
    void erase(std::int32_t symbol) { entry_of(symbol).store(EMPTY, std::memory_order_release); }

    /// Calls `visit(symbol, route)` for every route there is. Routes stand close together, so this
    /// is quick enough for a moment in which producers wait.
    template <class Visit>
    void each(Visit&& visit) const {
        for (std::uint32_t number = 0; number < LEAVES; ++number) {
            const Leaf* leaf = leaves_[number].load(std::memory_order_acquire);
            if (leaf == nullptr) continue;
            for (std::uint32_t i = 0; i < LEAF; ++i) {
                const std::uint64_t seen = (*leaf)[i].load(std::memory_order_acquire);
                if (is_route(seen))
                    visit(static_cast<std::int32_t>(number * LEAF + i), unpack(seen));
            }
        }
        const std::lock_guard lock(making_);
        for (const auto& [id, entry] : far_) {
            const std::uint64_t seen = entry->load(std::memory_order_acquire);
            if (is_route(seen)) visit(static_cast<std::int32_t>(id), unpack(seen));
        }
    }

    /// Of the keeper: makes the leaf of `symbol`, and the next one before it is needed.
    void prepare(std::int32_t symbol);
    [[nodiscard]] std::size_t bytes() const noexcept;

private:
    static constexpr std::uint64_t CLAIMED = 1;  // never a packed route: those have the top bit
    using Leaf = std::array<std::atomic<std::uint64_t>, LEAF>;

    [[nodiscard]] std::uint64_t find_far(std::uint32_t id) const noexcept;
    std::atomic<std::uint64_t>& entry_of(std::int32_t symbol);
    Leaf& leaf_of(std::uint32_t number);

    std::unique_ptr<std::atomic<Leaf*>[]> leaves_;
    std::atomic<std::size_t> leaf_count_{0};
    mutable std::mutex making_;
    std::unordered_map<std::uint32_t, std::unique_ptr<std::atomic<std::uint64_t>>> far_;
};

}  // namespace klineagg::engine
