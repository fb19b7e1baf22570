#include "klineagg/engine/route_table.hpp"

namespace klineagg::engine {

RouteTable::RouteTable() : leaves_(std::make_unique<std::atomic<Leaf*>[]>(LEAVES)) {}

RouteTable::~RouteTable() {
    for (std::uint32_t i = 0; i < LEAVES; ++i) delete leaves_[i].load();
}

std::uint64_t RouteTable::find_far(std::uint32_t id) const noexcept {
    const std::lock_guard lock(making_);
    const auto place = far_.find(id);
    return place == far_.end() ? EMPTY : place->second->load(std::memory_order_acquire);
}

RouteTable::Leaf& RouteTable::leaf_of(std::uint32_t number) {
    Leaf* leaf = leaves_[number].load(std::memory_order_acquire);
    if (leaf != nullptr) return *leaf;
    const std::lock_guard lock(making_);
    leaf = leaves_[number].load(std::memory_order_acquire);
    if (leaf == nullptr) {
        leaf = new Leaf();
        leaf_count_.fetch_add(1, std::memory_order_relaxed);
        leaves_[number].store(leaf, std::memory_order_release);
    }
    return *leaf;
}

std::atomic<std::uint64_t>& RouteTable::entry_of(std::int32_t symbol) {
    const auto id = static_cast<std::uint32_t>(symbol);
    if (id < LEAF * LEAVES) return leaf_of(id >> LEAF_BITS)[id & (LEAF - 1)];
    const std::lock_guard lock(making_);
    auto& entry = far_[id];
    if (!entry) entry = std::make_unique<std::atomic<std::uint64_t>>(EMPTY);
    return *entry;
}

void RouteTable::prepare(std::int32_t symbol) {
    const auto id = static_cast<std::uint32_t>(symbol);
    if (id >= LEAF * LEAVES) return;
    (void)leaf_of(id >> LEAF_BITS);
    // Ids are dense: the next leaf too, once they reach the second half of this one.
    if ((id & (LEAF - 1)) >= LEAF / 2 && (id >> LEAF_BITS) + 1 < LEAVES)
        (void)leaf_of((id >> LEAF_BITS) + 1);
}

std::size_t RouteTable::bytes() const noexcept {
    const std::lock_guard lock(making_);
    return LEAVES * sizeof(leaves_[0]) + leaf_count_.load() * sizeof(Leaf) +
           far_.size() * (sizeof(*far_.begin()) + sizeof(std::atomic<std::uint64_t>));
}

}  // namespace klineagg::engine
