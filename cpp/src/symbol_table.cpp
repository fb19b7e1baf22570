#include "klineagg/symbol_table.hpp"

#include <mutex>

#include "klineagg/detail/fork_lock.hpp"
#include "klineagg/error.hpp"

namespace klineagg {

std::int32_t SymbolTable::intern(std::string_view name) {
    if (const auto known = find(name)) return *known;
    if (name.empty() || name.size() > SYMBOL_NAME_MAX) {
        throw Error(ErrorCode::unknown_symbol,
                    name.empty() ? "a symbol has an empty name"
                                 : "a symbol's name has " + std::to_string(name.size()) +
                                       " bytes, the limit is " + std::to_string(SYMBOL_NAME_MAX),
                    {{"name", std::string(name.substr(0, SYMBOL_NAME_MAX))}});
    }
    const std::unique_lock lock(mutex_);
    const auto known = ids_.find(name);  // another thread may have been faster
    if (known != ids_.end()) return known->second;
    if (names_.size() >= SYMBOLS_MAX) {
        throw Error(ErrorCode::unknown_symbol, "the table of symbols is full",
                    {{"limit", std::to_string(SYMBOLS_MAX)}});
    }
    const auto id = static_cast<std::int32_t>(names_.size());
    names_.emplace_back(name);
    ids_.emplace(names_.back(), id);
    return id;
}

std::optional<std::int32_t> SymbolTable::find(std::string_view name) const {
    const std::shared_lock lock(mutex_);
    const auto known = ids_.find(name);
    if (known == ids_.end()) return std::nullopt;
    return known->second;
}

std::string SymbolTable::name(std::int32_t id) const {
    const std::shared_lock lock(mutex_);
    const auto index = static_cast<std::size_t>(id);
    return id >= 0 && index < names_.size() ? names_[index] : std::string();
}

std::size_t SymbolTable::size() const {
    const std::shared_lock lock(mutex_);
    return names_.size();
}

/// Never destroyed: threads that end with the process may still ask for names.
SymbolTable& symbol_table() {
    static SymbolTable* const only = new SymbolTable;
    return *only;
}

namespace {

std::shared_mutex& names_lock() noexcept { return symbol_table().lock(); }
[[maybe_unused]] const bool forks = detail::free_in_children<names_lock>();

}  // namespace

}  // namespace klineagg
