#include "klineagg/wal/names.hpp"

#include <cstring>

namespace klineagg::wal {
namespace {

struct Entry {
    std::int32_t id = 0;
    std::uint16_t bytes = 0;
    NameKind kind = NameKind::symbol;
    std::uint8_t unused = 0;
};
static_assert(sizeof(Entry) == 8);

}  // namespace

void put_name(std::vector<std::byte>& payload, NameKind kind, std::int32_t id,
              std::string_view name) {
    name = name.substr(0, UINT16_MAX);
    const Entry entry{id, static_cast<std::uint16_t>(name.size()), kind, 0};
    const std::size_t at = payload.size();
    payload.resize(at + sizeof entry + name.size());
    std::memcpy(payload.data() + at, &entry, sizeof entry);
    if (!name.empty()) std::memcpy(payload.data() + at + sizeof entry, name.data(), name.size());
}

bool read_names(Bytes payload, std::vector<Name>& names) {
    while (!payload.empty()) {
        Entry entry;
        if (payload.size() < sizeof entry) return false;
        std::memcpy(static_cast<void*>(&entry), payload.data(), sizeof entry);
        payload = payload.subspan(sizeof entry);
        if (entry.bytes > payload.size() || entry.kind > NameKind::source) return false;
        names.push_back(
            {entry.kind, entry.id, {reinterpret_cast<const char*>(payload.data()), entry.bytes}});
        payload = payload.subspan(entry.bytes);
    }
    return true;
}

}  // namespace klineagg::wal
