// Successors and removers that meet: what a sequence and its readers must not notice.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bus/bus_folder.hpp"
#include "catch.hpp"
#include "klineagg/bus/cleanup.hpp"
#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/error.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using namespace klineagg::bus::test;

namespace {

constexpr std::uint64_t EACH = 5;  // messages of one life

PublisherOptions sized(std::size_t records) {
    PublisherOptions options;
    options.ring_bytes = checked_bytes(records);
    return options;
}

/// What rivals saw. In shared memory, so that processes have the same.
struct Tally {
    std::atomic<std::uint64_t> lives{0};
    std::atomic<std::uint64_t> refused{0};
    std::atomic<int> living{0};
    std::atomic<std::uint64_t> together{0};  // lives that were not alone
    std::atomic<std::uint64_t> failures{0};
    std::atomic<int> ready{0};
};

class SharedTally {
public:
    SharedTally()
        : tally_(new (mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Tally) {}
    ~SharedTally() { munmap(tally_, sizeof(Tally)); }
    SharedTally(const SharedTally&) = delete;
    SharedTally& operator=(const SharedTally&) = delete;
    Tally* operator->() const noexcept { return tally_; }
    Tally& operator*() const noexcept { return *tally_; }

private:
    Tally* tally_;
};

/// One try to succeed; the publisher, while it lives.
std::unique_ptr<Publisher> succeed(const Folder& folder, std::size_t records, Tally& tally) {
    try {
        auto publisher = std::make_unique<Publisher>(folder, "ticks", "a", checked_type(),
                                                     sized(records));
        if (tally.living.fetch_add(1) != 0) ++tally.together;
        for (std::uint64_t i = 0; i < EACH; ++i)
            publisher->publish(Checked::of(publisher->next_sequence()));
        ++tally.lives;
        --tally.living;
        return publisher;
    } catch (const Error& error) {
        ++(error.code() == ErrorCode::publisher_exists ? tally.refused : tally.failures);
        return nullptr;
    }
}

/// Receives all that comes and says whether it was whole, in order and complete.
class Witness {
public:
    explicit Witness(const Folder& folder) : subscriber_(folder, "ticks", checked_type()) {}

    void look() {
        for (const auto& batch : subscriber_.batches<Checked>(0)) {
            for (const Checked& record : batch) {
                if (!record.is_own() || record.header.sequence < next_) ++wrong_;
                next_ = record.header.sequence + 1;
            }
        }
    }
    void check(std::uint64_t sent) {
        for (int i = 0; i < 4; ++i) {  // from ring to ring
            subscriber_.refresh();
            look();
        }
        CHECK(wrong_ == 0);
        CHECK(next_ <= sent + 1);
        CHECK(subscriber_.received() + subscriber_.lost() == sent);
    }

private:
    Subscriber subscriber_;
    std::uint64_t next_ = 1;
    std::uint64_t wrong_ = 0;
};

void check_sequence(const Folder& folder, const Tally& tally) {
    CHECK(tally.failures == 0);
    CHECK(tally.together == 0);
    const Publisher last(folder, "ticks", "a", checked_type(), sized(16));
    CHECK(last.next_sequence() == EACH * tally.lives + 1);
}

void race_in_threads(int rounds) {
    const TestFolder at;
    const SharedTally tally;
    Witness eager(at.folder());
    Witness lazy(at.folder());
    constexpr int RIVALS = 3;
    std::barrier start(RIVALS + 1);
    std::atomic<bool> ended{false};
    std::vector<std::thread> threads;
    for (std::size_t rival = 0; rival < RIVALS; ++rival) {
        threads.emplace_back([&, rival] {
            for (int round = 0; round < rounds; ++round) {
                start.arrive_and_wait();
                // Rings of other sizes are replaced; those of the same size are taken over.
                const std::size_t records = (round / 8 + static_cast<int>(rival)) % 2 ? 16 : 32;
                if (const auto publisher = succeed(at.folder(), records, *tally))
                    publisher->close();
            }
        });
    }
    threads.emplace_back([&] {
        Topic topic(at.folder(), "ticks");
        while (!ended) {
            try {
                remove_orphans(topic, 0);
                clean_folder(at.folder(), 0);
            } catch (const Error&) {
                ++tally->failures;
            }
            std::this_thread::yield();
        }
    });
    for (int round = 0; round < rounds; ++round) {
        start.arrive_and_wait();
        eager.look();
    }
    for (int rival = 0; rival < RIVALS; ++rival) threads[static_cast<std::size_t>(rival)].join();
    ended = true;
    threads.back().join();
    CHECK(tally->lives >= static_cast<std::uint64_t>(rounds));  // one a round at the least
    check_sequence(at.folder(), *tally);
    eager.check(EACH * tally->lives);
    lazy.check(EACH * tally->lives);
}

/// Each round: two processes at once, which die without a word, and this one that removes.
void race_in_processes(int rounds) {
    const TestFolder at;
    const SharedTally tally;
    Witness witness(at.folder());
    for (int round = 0; round < rounds; ++round) {
        tally->ready = 0;
        std::vector<pid_t> children;
        for (std::size_t rival = 0; rival < 2; ++rival) {
            const pid_t pid = fork();
            if (pid == 0) {
                ++tally->ready;
                while (tally->ready != 3) std::this_thread::yield();
                // Its segment is not closed: as after kill -9.
                (void)succeed(at.folder(), round % 3 ? 16 : 16U << rival, *tally).release();
                _exit(0);
            }
            children.push_back(pid);
        }
        while (tally->ready != 2) std::this_thread::yield();
        ++tally->ready;
        Topic topic(at.folder(), "ticks");
        for (const pid_t pid : children) {
            while (waitpid(pid, nullptr, WNOHANG) == 0) remove_orphans(topic, 0);
        }
        witness.look();
    }
    CHECK(tally->lives >= static_cast<std::uint64_t>(rounds));
    check_sequence(at.folder(), *tally);
    witness.check(EACH * tally->lives);
}

}  // namespace

TEST_CASE("of successors that come at once one follows, also while a remover is at work",
          "[bus][takeover][threads]") {
    race_in_threads(300);
}

TEST_CASE("processes that succeed at once, and die, beside a remover", "[bus][takeover]") {
    race_in_processes(25);
}

TEST_CASE("thousands of successors at once, beside removers", "[.slow][bus-endurance]") {
    race_in_threads(20'000);
    race_in_processes(2'000);
}
