// From symbol ids to places in an array.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace klineagg::detail {

class SymbolRouter {
public:
    static constexpr std::int32_t ABSENT = -1;

    /// For loops: as the router is now, with nothing in it that a store could change.
    class View {
    public:
        explicit View(const SymbolRouter& router)
            : near_(router.near_.data()), size_(router.near_.size()), router_(&router) {}

        [[nodiscard]] std::int32_t find(std::int32_t symbol) const noexcept {
            const auto index = static_cast<std::uint32_t>(symbol);
            if (index < size_) [[likely]] return near_[index];
            return router_->find_far(symbol);
        }

    private:
        const std::int32_t* near_;
        std::size_t size_;
        const SymbolRouter* router_;
    };

    [[nodiscard]] View view() const noexcept { return View(*this); }
    [[nodiscard]] std::int32_t find(std::int32_t symbol) const noexcept {
        return view().find(symbol);
    }

    void insert(std::int32_t symbol, std::int32_t place) {
        const auto index = static_cast<std::uint32_t>(symbol);
        if (index >= NEAR_MAX) {
            far_.emplace(symbol, place);
            return;
        }
        // Not beyond NEAR_MAX: ids there are inserted elsewhere, and must be looked for there.
        if (index >= near_.size())
            near_.resize(std::min<std::size_t>(NEAR_MAX, index + 1 + index / 2), ABSENT);
        near_[index] = place;
    }

private:
    // Interned ids are dense and small; other people's ids may be anything, and a table up to
    // their largest could take gigabytes.
    static constexpr std::uint32_t NEAR_MAX = 1U << 20;

    [[nodiscard]] std::int32_t find_far(std::int32_t symbol) const noexcept {
        const auto place = far_.find(symbol);
        return place == far_.end() ? ABSENT : place->second;
    }

    std::vector<std::int32_t> near_;
    std::unordered_map<std::int32_t, std::int32_t> far_;
};

}  // namespace klineagg::detail
