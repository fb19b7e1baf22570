// A segment that a hostile program wrote: readers may see nonsense, never touch what is outside.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "klineagg/bus/record_type.hpp"
#include "klineagg/bus/ring.hpp"
#include "klineagg/error.hpp"

using namespace klineagg::bus;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const auto type =
            RecordType::parse({reinterpret_cast<const char*>(data), size});
        if (RecordType::parse(type.text()).hash() != type.hash()) __builtin_trap();
    } catch (const klineagg::Error&) {
    }
    // The bytes over a real ring, so that some get past the checks of its header.
    constexpr std::size_t CAPACITY = 8;
    constexpr std::size_t RECORD = 40;
    const RecordType type("Tick", 1, RECORD, {{"value", 'f', 8, 1, 32}});
    const std::size_t bytes = ring_bytes(CAPACITY, RECORD);
    std::vector<std::byte> room(bytes + 128);
    auto* memory = room.data();
    while (reinterpret_cast<std::uintptr_t>(memory) % 128 != 0) ++memory;
    RingMemory::create(memory, CAPACITY, type, 1);
    for (std::size_t i = 0; i + 3 <= size; i += 3) {
        const std::size_t at = (std::size_t{data[i]} << 8 | data[i + 1]) % bytes;
        memory[at] = std::byte{data[i + 2]};
    }
    try {
        const RingMemory ring = RingMemory::open(memory, bytes);
        (void)ring.type();
        RingReader reader(ring, size != 0 ? data[0] : 1);
        std::vector<std::byte> to(4 * ring.record_bytes());
        for (int i = 0; i < 8; ++i) {
            if (reader.read(to.data(), 4) > 4) __builtin_trap();
            const auto view = reader.peek(4);
            std::size_t sum = 0;
            for (const auto& piece : view.pieces) {
                for (const std::byte value : piece) sum += static_cast<std::size_t>(value);
            }
            reader.advance(reader.still_valid(view.first) ? sum % 3 : 1);
        }
    } catch (const klineagg::Error&) {
    }
    return 0;
}
