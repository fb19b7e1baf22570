#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>

#include "batch_run.hpp"
#include "catch.hpp"
#include "klineagg/arena.hpp"
#include "klineagg/engine.hpp"

using namespace klineagg;
using namespace klineagg::test;

namespace {

/// What another process does with a file that it was handed.
class Mapping {
public:
    Mapping(int file, std::size_t bytes)
        : bytes_(bytes), data_(::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0)) {}
    ~Mapping() { (void)::munmap(data_, bytes_); }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    [[nodiscard]] const std::byte* at(std::size_t offset) const {
        return static_cast<const std::byte*>(data_) + offset;
    }

private:
    std::size_t bytes_;
    void* data_;
};

std::ptrdiff_t open_files() {
    const std::filesystem::directory_iterator files("/proc/self/fd");
    return std::distance(begin(files), end(files));
}

}  // namespace

TEST_CASE("shared memory is seen through its file, and nobody changes it once frozen", "[arena]") {
    constexpr std::size_t bytes = 10'000;
    auto arena = std::make_unique<Arena>(bytes, ArenaKind::shared);
    REQUIRE(arena->file() >= 0);
    std::memset(arena->data(), 7, bytes);
    const Mapping mapping(arena->file(), bytes);
    REQUIRE(arena->freeze());

    void* const again = ::mmap(nullptr, bytes, PROT_WRITE, MAP_SHARED, arena->file(), 0);
    CHECK(again == MAP_FAILED);
    CHECK(errno == EPERM);
    CHECK(::pwrite(arena->file(), "x", 1, 0) == -1);
    CHECK(::ftruncate(arena->file(), 1) == -1);
    CHECK(::ftruncate(arena->file(), 1 << 20) == -1);

    const Arena moved = std::move(*arena);
    CHECK(arena->file() == -1);
    CHECK(moved.data()[bytes - 1] == std::byte{7});
    arena.reset();
    CHECK(*mapping.at(bytes - 1) == std::byte{7});
}

TEST_CASE("a mapping outlives the arena, whose file is closed", "[arena]") {
    const std::ptrdiff_t before = open_files();
    std::optional<Arena> arena(std::in_place, 4'096, ArenaKind::shared);
    arena->data()[100] = std::byte{3};
    const Mapping mapping(arena->file(), arena->size());
    arena.reset();
    CHECK(*mapping.at(100) == std::byte{3});
    CHECK(open_files() == before);
}

TEST_CASE("shared memory that is not there is an error at once, not a signal later", "[arena]") {
    const std::ptrdiff_t before = open_files();
    CHECK_THROWS_AS(Arena(std::size_t{1} << 55U, ArenaKind::shared), std::bad_alloc);
    CHECK(open_files() == before);
}

TEST_CASE("an engine's snapshots lie in shared memory where asked for", "[arena][engine]") {
    EngineOptions options;
    options.clock = std::make_shared<engine::SimulatedClock>();
    options.max_ahead_ns = HORIZON_UNLIMITED;
    options.snapshot_memory = ArenaKind::shared;
    Engine engine(RollupPlan({Interval::parse("1s"), Interval::parse("1m")}), options);
    engine.start();
    const auto producer = engine.producer("feed");
    const std::ptrdiff_t before = open_files();
    for (int round = 0; round < 50; ++round) {
        Table trades;
        for (std::int32_t symbol = 0; symbol < 20; ++symbol) {
            Trade trade;
            trade.time = WEDNESDAY + round * NS_PER_SECOND;
            trade.price = 100.0 + symbol;
            trade.quantity = 1.0 + round;
            trades.add(symbol, trade);
        }
        (void)producer->push(trades.view());
        Snapshot snapshot = engine.take("other process");
        const BarTable& table = snapshot.open();
        REQUIRE(table.memory().file() >= 0);
        const Mapping mapping(table.memory().file(), table.memory().size());
        const auto* const from = reinterpret_cast<const std::byte*>(table.columns().volume);
        const auto offset = static_cast<std::size_t>(from - table.memory().data());
        REQUIRE(table.rows() == 40);
        CHECK(std::memcmp(mapping.at(offset), from, 40 * sizeof(double)) == 0);
        CHECK(table.columns().volume[0] == 1.0 + round);
        snapshot.ack();
    }
    CHECK(open_files() == before);
    CHECK(engine.view().open->memory().file() == -1);
    engine.stop();
}
