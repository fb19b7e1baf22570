// Names of symbols and their ids: dense from 0, stable for the life of the process, never reused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace klineagg {

inline constexpr std::size_t SYMBOL_NAME_MAX = 256;
inline constexpr std::size_t SYMBOLS_MAX = std::size_t{1} << 26;

/// Safe to use from several threads; never on the trade path, which carries ids.
class SymbolTable {
public:
    /// The id of a name, new ones at the end. Throws Error(unknown_symbol) for an empty name or
    /// one over SYMBOL_NAME_MAX bytes, and when the table is full.
    std::int32_t intern(std::string_view name);
    [[nodiscard]] std::optional<std::int32_t> find(std::string_view name) const;
    /// Empty when the id was never given out.
    [[nodiscard]] std::string name(std::int32_t id) const;
    [[nodiscard]] std::size_t size() const;
    /// What fork() holds meanwhile.
    [[nodiscard]] std::shared_mutex& lock() noexcept { return mutex_; }

private:
    mutable std::shared_mutex mutex_;
    std::deque<std::string> names_;  // a deque: the map's keys point into it
    std::unordered_map<std::string_view, std::int32_t> ids_;
};

/// The table of this process.
SymbolTable& symbol_table();

}  // namespace klineagg
