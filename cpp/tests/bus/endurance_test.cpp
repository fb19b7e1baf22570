// Long runs of the bus, by hand: klineagg_tests '[bus-endurance]'. Each prints its counts.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "support.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;
using engine::monotonic_ns;
using klineagg::test::pick;
using klineagg::test::Rng;

namespace {

pid_t child(const std::function<void()>& act) {
    const pid_t pid = fork();
    if (pid == 0) {
        act();
        _exit(0);
    }
    return pid;
}

void kill_now(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
}

std::int64_t from_environment(const char* name, std::int64_t otherwise) {
    const char* const text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
    return text == nullptr ? otherwise : std::strtoll(text, nullptr, 10);
}

void progress(const char* what, std::uint64_t done, std::uint64_t of) {
    std::printf("%s: %llu of %llu\n", what, static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(of));
    std::fflush(stdout);
}

/// At full rate, in batches of any size, by copy and in place, until it is killed.
void publish_for_ever(const TestFolder& place, std::uint64_t seed) {
    PublisherOptions options;
    options.ring_bytes = checked_bytes(4096);
    Publisher publisher(place.folder(), "ticks", "feed", checked_type(), options);
    Rng rng(seed);
    std::vector<Checked> batch(1024);
    while (true) {
        const std::size_t count = 1 + pick(rng, batch.size());
        const std::uint64_t first = publisher.next_sequence();
        for (std::size_t i = 0; i < count; ++i) batch[i] = Checked::of(first + i);
        if (count % 2 == 0) {
            publisher.publish(std::span<const Checked>(batch.data(), count));
            continue;
        }
        const Publisher::Loan loan = publisher.loan(count);
        const auto* from = reinterpret_cast<const std::byte*>(batch.data());
        for (const auto& piece : loan.pieces) {
            std::copy(from, from + piece.size(), piece.begin());
            from += piece.size();
        }
        publisher.commit_loan(count);
    }
}

struct Checker {
    std::vector<Checked> some = std::vector<Checked>(512);
    std::uint64_t last = 0;
    std::uint64_t wrong = 0;

    std::size_t receive(Subscriber& from) {
        const std::size_t count = from.receive(std::span<Checked>(some));
        for (std::size_t i = 0; i < count; ++i) {
            wrong += some[i].is_own() && some[i].header.sequence > last ? 0U : 1U;
            last = some[i].header.sequence;
        }
        return count;
    }
};

}  // namespace

TEST_CASE("publishers and subscribers killed a thousand times each", "[.slow][bus-endurance]") {
    const TestFolder place;
    const auto cycles = static_cast<std::size_t>(from_environment("KLINEAGG_KILLS", 1'000));
    Subscriber survivor(place.folder(), "ticks", checked_type());
    Checker checker;
    Rng rng(99);
    std::vector<std::int64_t> recoveries;
    for (std::size_t cycle = 0; cycle < cycles; ++cycle) {
        const std::int64_t killed = monotonic_ns();
        const std::uint64_t generation = cycle + 1;
        const pid_t publisher = child([&] { publish_for_ever(place, cycle); });
        const pid_t reader = child([&] {
            Subscriber victim(place.folder(), "ticks", checked_type());
            Checker own;
            while (own.wrong == 0) {
                victim.wait(engine::NO_DEADLINE);
                own.receive(victim);
            }
            _exit(9);  // it has seen a record that nobody sent
        });
        // From the death of the last one on, until a record of this one is here.
        while (survivor.sources().empty() ||
               survivor.sources().front().generation != generation || checker.receive(survivor) == 0)
            REQUIRE(survivor.wait(engine::deadline_after(5 * NS_PER_SECOND)));
        recoveries.push_back(monotonic_ns() - killed);
        const std::int64_t until =
            monotonic_ns() + 100'000 + static_cast<std::int64_t>(pick(rng, 20'000'000));
        while (monotonic_ns() < until) (void)checker.receive(survivor);
        int status = 0;
        REQUIRE(waitpid(reader, &status, WNOHANG) == 0);  // it lives, so it saw nothing wrong
        kill_now(reader);
        kill_now(publisher);
        REQUIRE(checker.wrong == 0);
        if ((cycle + 1) % 100 == 0) progress("killed of each", cycle + 1, cycles);
    }
    while (checker.receive(survivor) != 0) {}
    const SourceInfo source = survivor.sources().front();
    CHECK(checker.wrong == 0);
    CHECK(source.next == checker.last + 1);
    CHECK(survivor.received() + survivor.lost() == checker.last);
    CHECK(source.generation == cycles);
    CHECK(survivor.topic().subscribers().size() == 1);  // no line of a dead one is left
    std::sort(recoveries.begin(), recoveries.end());
    std::printf("%zu kills of each: %llu records received, %llu lost, 0 wrong; next publisher's "
                "first record after %.1f ms at the median, %.1f ms at most\n",
                cycles, static_cast<unsigned long long>(survivor.received()),
                static_cast<unsigned long long>(survivor.lost()),
                static_cast<double>(recoveries[recoveries.size() / 2]) / 1e6,
                static_cast<double>(recoveries.back()) / 1e6);
    CHECK(recoveries.back() < 5 * NS_PER_SECOND);
}

TEST_CASE("readers that keep up lose nothing in 10^9 messages", "[.slow][bus-endurance]") {
    struct Small {
        MessageHeader header;
        std::uint64_t value = 0;
    };
    static_assert(IsRecord<Small> && sizeof(Small) == 40);
    static const RecordType type("Small", 1, sizeof(Small), {{"value", 'u', 8, 1, 32}});
    constexpr std::size_t READERS = 2;
    constexpr std::size_t BATCH = 1024;
    struct Shared {
        std::atomic<std::uint64_t> at[READERS];
        std::atomic<std::uint64_t> wrong;
        std::atomic<std::uint64_t> lost;
    };
    const TestFolder place;
    const auto total = static_cast<std::uint64_t>(
        from_environment("KLINEAGG_MESSAGES", 1'000'000'000));
    void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    auto* const shared = new (memory) Shared{};
    std::vector<pid_t> readers;
    for (std::size_t number = 0; number < READERS; ++number) {
        readers.push_back(child([&] {
            SubscriberOptions options;
            options.wait = engine::WaitKind::backoff;
            Subscriber subscriber(place.folder(), "small", type, options);
            std::vector<Small> some(BATCH);
            std::uint64_t expected = 1;
            shared->at[number].store(1);
            while (expected <= total) {
                subscriber.wait(engine::NO_DEADLINE);
                const std::size_t count = subscriber.receive(std::span<Small>(some));
                for (std::size_t i = 0; i < count; ++i, ++expected) {
                    const bool whole = some[i].header.sequence == expected &&
                                       some[i].value == expected * 0x9e3779b97f4a7c15u;
                    if (!whole) shared->wrong.fetch_add(1);
                }
                shared->at[number].store(expected);
            }
            shared->lost.fetch_add(subscriber.lost());
        }));
    }
    PublisherOptions options;
    options.ring_bytes = std::size_t{1} << 22;
    Publisher publisher(place.folder(), "small", "feed", type, options);
    // Waits for a reader, for as long as it lives.
    const auto until = [&](std::size_t number, auto&& reached) {
        while (!reached(shared->at[number].load(std::memory_order_relaxed))) {
            int status = 0;
            REQUIRE(waitpid(readers[number], &status, WNOHANG) == 0);
            usleep(50);
        }
    };
    for (std::size_t number = 0; number < READERS; ++number)
        until(number, [](std::uint64_t at) { return at != 0; });
    std::vector<Small> batch(BATCH);
    const std::int64_t start = monotonic_ns();
    for (std::uint64_t next = 1; next <= total; next += BATCH) {
        // What "keeping up" means: nobody is behind by more than half of the ring.
        for (std::size_t number = 0; number < READERS; ++number)
            until(number, [&](std::uint64_t at) { return next - at <= publisher.capacity() / 2; });
        const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(BATCH, total - next + 1));
        for (std::size_t i = 0; i < count; ++i)
            batch[i].value = (next + i) * 0x9e3779b97f4a7c15u;
        publisher.publish(std::span<const Small>(batch.data(), count));
        constexpr std::uint64_t STEP = 100'000'000 / BATCH * BATCH;
        if ((next - 1) % STEP == 0) progress("messages", next - 1, total);
    }
    for (const pid_t reader : readers) {
        int status = 0;
        REQUIRE(waitpid(reader, &status, 0) == reader);
        CHECK(status == 0);
    }
    const double seconds = static_cast<double>(monotonic_ns() - start) / 1e9;
    CHECK(shared->wrong.load() == 0);
    CHECK(shared->lost.load() == 0);
    std::printf("%llu messages to %zu readers: none lost, none wrong, %.1f s, %.1f M msg/s\n",
                static_cast<unsigned long long>(total), READERS, seconds,
                static_cast<double>(total) / seconds / 1e6);
    munmap(memory, sizeof(Shared));
}
