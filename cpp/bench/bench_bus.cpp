// The bus between processes: latency of a 128-byte message, messages a second by batch and by
// number of subscribers, memory, and the scheduling jitter of the machine beside it.
// One JSON object a line. Usage: bench_bus [seconds of each measurement] [subscribers,...]
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "klineagg/bus/publisher.hpp"
#include "klineagg/bus/subscriber.hpp"
#include "klineagg/engine/clock.hpp"

using namespace klineagg;
using namespace klineagg::bus;
using engine::monotonic_ns;

namespace {

struct Message {
    MessageHeader header;
    std::int64_t sent = 0;
    std::uint64_t filler[11] = {};
};
static_assert(IsRecord<Message> && sizeof(Message) == 128);

const RecordType& message_type() {
    static const RecordType type("Message", 1, sizeof(Message),
                                 {{"sent", 'i', 8, 1, 32}, {"filler", 'u', 8, 11, 40}});
    return type;
}

pid_t child(const std::function<void()>& act) {
    const pid_t pid = fork();
    if (pid == 0) {
        act();
        std::fflush(stdout);
        _exit(0);
    }
    return pid;
}

double percentile(std::vector<std::int64_t>& sorted, double share) {
    if (sorted.empty()) return 0.0;
    const auto at = static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1));
    return static_cast<double>(sorted[at]);
}

void print_tails(const char* what, const char* wait, std::vector<std::int64_t>& values) {
    std::sort(values.begin(), values.end());
    std::printf("{\"what\": \"%s\", \"wait\": \"%s\", \"count\": %zu, \"p50_ns\": %.0f, "
                "\"p99_ns\": %.0f, \"p999_ns\": %.0f, \"max_ns\": %.0f}\n",
                what, wait, values.size(), percentile(values, 0.5), percentile(values, 0.99),
                percentile(values, 0.999), percentile(values, 1.0));
    std::fflush(stdout);
}

/// Gaps of a thread that does nothing but look at the clock: what preempts every transport.
void jitter(double seconds) {
    std::vector<std::int64_t> gaps;
    const std::int64_t end = monotonic_ns() + static_cast<std::int64_t>(seconds * 1e9);
    std::int64_t last = monotonic_ns();
    while (last < end) {
        const std::int64_t now = monotonic_ns();
        gaps.push_back(now - last);
        last = now;
    }
    print_tails("jitter", "spin", gaps);
}

SubscriberOptions waiting(engine::WaitKind kind, std::optional<int> core = {}) {
    SubscriberOptions options;
    options.wait = kind;
    if (std::thread::hardware_concurrency() > 1) options.core = core;
    return options;
}

/// There and back between two processes, on a core each; half of it is one way.
void latency(const Folder& folder, engine::WaitKind kind, const char* name, double seconds) {
    Publisher ping(folder, "ping", "a", message_type());
    Subscriber back(folder, "pong", message_type(), waiting(kind, 0));
    const pid_t echo = child([&] {
        Publisher pong(folder, "pong", "b", message_type());
        Subscriber there(folder, "ping", message_type(), waiting(kind, 1));
        Message message;
        while (true) {
            there.wait(engine::NO_DEADLINE);
            if (there.receive(std::span<Message>(&message, 1)) != 0) pong.publish(message);
        }
    });
    std::vector<std::int64_t> halves;
    Message message;
    usleep(100'000);
    const std::int64_t end = monotonic_ns() + static_cast<std::int64_t>(seconds * 1e9);
    for (std::int64_t start = monotonic_ns(); start < end; start = monotonic_ns()) {
        message.sent = start;
        ping.publish(message);
        if (!back.wait(engine::deadline_after(NS_PER_SECOND))) continue;
        back.receive(std::span<Message>(&message, 1));
        halves.push_back((monotonic_ns() - message.sent) / 2);
    }
    kill(echo, SIGKILL);
    waitpid(echo, nullptr, 0);
    print_tails("latency", name, halves);
}

/// Proportional share of the memory of a process, in kB.
std::int64_t pss_kb(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
    std::string word;
    std::int64_t value = 0;
    while (file >> word) {
        if (word == "Pss:" && file >> value) return value;
    }
    return 0;
}

/// Of the calling thread: what others do to its core meanwhile does not count.
std::int64_t processor_ns() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * NS_PER_SECOND + time.tv_nsec;
}

/// Of readers that sleep for up to half a millisecond (backoff) or until they are called (park).
/// `apart`: the publisher has a core of its own, so that what it pays is its own work and the
/// traffic of the caches, and not what a thousand processes leave of its cache and time slices.
void rate(const Folder& folder, std::size_t subscribers, engine::WaitKind kind, const char* wait,
          bool apart, double seconds) {
    std::vector<pid_t> readers;
    for (std::size_t i = 0; i < subscribers; ++i) {
        readers.push_back(child([&] {
            const auto core = apart ? std::optional<int>(1) : std::nullopt;
            Subscriber subscriber(folder, "rate", message_type(), waiting(kind, core));
            std::vector<Message> messages(256);
            while (true) {
                subscriber.wait(engine::NO_DEADLINE);
                subscriber.receive(std::span<Message>(messages));
            }
        }));
    }
    PublisherOptions options;
    if (apart) options.core = 0;
    Publisher publisher(folder, "rate", "a", message_type(), options);
    for (int i = 0; i < 200 && publisher.topic().subscribers().size() < subscribers; ++i)
        usleep(50'000);
    std::vector<Message> messages(256);
    // Once around the ring, which brings it into the caches as far as it fits there.
    for (std::uint64_t i = 0; i < publisher.capacity(); i += messages.size())
        publisher.publish(std::span<const Message>(messages));
    for (const std::size_t batch : {1u, 16u, 64u, 256u}) {
        std::uint64_t sent = 0;
        const std::int64_t start = monotonic_ns();
        const std::int64_t end = start + static_cast<std::int64_t>(seconds * 1e9);
        std::int64_t now = start;
        const std::int64_t processor = processor_ns();
        while (now < end) {
            for (int i = 0; i < 256; ++i)
                publisher.publish(std::span<const Message>(messages.data(), batch));
            sent += 256 * batch;
            now = monotonic_ns();
        }
        const std::int64_t used = processor_ns() - processor;
        std::uint64_t lost = 0;
        std::uint64_t received = 0;
        for (const SubscriberInfo& each : publisher.topic().subscribers()) {
            lost += each.lost;
            received += each.received;
        }
        std::printf("{\"what\": \"rate\", \"subscribers\": %zu, \"wait\": \"%s\", "
                    "\"own_core\": %s, \"batch\": %zu, \"sent_per_s\": %.0f, \"processor_ns\": %.1f, "
                    "\"calls\": %llu, \"received_all\": %llu, \"lost_all\": %llu}\n",
                    subscribers, wait, apart ? "true" : "false", batch,
                    static_cast<double>(sent) * 1e9 / static_cast<double>(now - start),
                    static_cast<double>(used) / static_cast<double>(sent),
                    static_cast<unsigned long long>(publisher.wake_count()),
                    static_cast<unsigned long long>(received),
                    static_cast<unsigned long long>(lost));
        std::fflush(stdout);
    }
    std::int64_t memory = pss_kb(getpid());
    for (const pid_t pid : readers) memory += pss_kb(pid);
    std::printf("{\"what\": \"memory\", \"subscribers\": %zu, \"pss_kb\": %lld}\n", subscribers,
                static_cast<long long>(memory));
    for (const pid_t pid : readers) kill(pid, SIGKILL);
    for (const pid_t pid : readers) waitpid(pid, nullptr, 0);
}

}  // namespace

int main(int count, char** arguments) {
    const double seconds = count > 1 ? std::atof(arguments[1]) : 1.0;
    if (seconds <= 0.0) {
        std::fprintf(stderr, "usage: %s [SECONDS of each run [SUBSCRIBERS, such as 0,1,10]]\n",
                     arguments[0]);
        return 2;
    }
    std::vector<std::size_t> subscribers = {0, 1, 10, 100};
    if (count > 2) {
        subscribers.clear();
        std::string text = arguments[2];
        for (std::size_t at = 0; at != std::string::npos;) {
            subscribers.push_back(std::strtoul(text.c_str() + at, nullptr, 10));
            at = text.find(',', at);
            if (at != std::string::npos) ++at;
        }
    }
    const std::string path = Folder::default_path() + "-bench-" + std::to_string(getpid());
    {
        const Folder folder(path);
        jitter(seconds);
        // Each in a process of its own, which keeps its core.
        for (const auto& [kind, name] : {std::pair{engine::WaitKind::spin, "spin"},
                                         std::pair{engine::WaitKind::park, "park"}}) {
            const pid_t pair = child([&] { latency(folder, kind, name, seconds); });
            waitpid(pair, nullptr, 0);
        }
        const bool cores = std::thread::hardware_concurrency() > 1;
        for (const std::size_t number : subscribers) {
            for (const bool apart : {false, true}) {
                if (apart && (number == 0 || !cores)) continue;
                for (const auto& [kind, name] : {std::pair{engine::WaitKind::backoff, "backoff"},
                                                 std::pair{engine::WaitKind::park, "park"}}) {
                    if (number == 0 && kind == engine::WaitKind::park) continue;
                    const pid_t sender =
                        child([&] { rate(folder, number, kind, name, apart, seconds); });
                    waitpid(sender, nullptr, 0);
                }
            }
        }
    }
    std::filesystem::remove_all(path);
    return 0;
}
