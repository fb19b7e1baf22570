// A topic in shared memory, all its ways: a publisher with a log, who receives it live, who in
// batches, who asks for its history, and who goes on where he was before a restart.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "klineagg/bus/delayed.hpp"
#include "klineagg/bus/logged.hpp"
#include "klineagg/bus/resumable.hpp"
#include "klineagg/bus/subscriber.hpp"

using namespace klineagg;

namespace {

/// A record of one's own: a header, which the publisher fills in, then fields.
struct Quote {
    bus::MessageHeader header;
    double bid = 0.0;
    double ask = 0.0;
};

const bus::RecordType& quote_type() {
    // Name, version, bytes; of each field its name, kind, bytes, count and offset.
    static const bus::RecordType type("Quote", 1, sizeof(Quote),
                                      {{"bid", 'f', 8, 1, 32}, {"ask", 'f', 8, 1, 40}});
    return type;
}

void publish(bus::LoggedPublisher& publisher, int count) {
    std::vector<Quote> quotes(static_cast<std::size_t>(count));
    for (Quote& quote : quotes) {
        quote.bid = 27'500.0;
        quote.ask = 27'500.5;
    }
    publisher.publish(reinterpret_cast<const std::byte*>(quotes.data()), quotes.size());
}

std::size_t resumed(const bus::Folder& folder, const std::string& logs) {
    bus::ResumableOptions options;
    options.log_root = logs;
    options.checkpoint = logs + "/position.json";
    bus::Resumable subscriber(folder, "quotes", quote_type(), options);
    std::size_t count = 0;
    for (const bus::ResumedBatch& batch : subscriber.batches(0))
        count += batch.records<Quote>().size();
    subscriber.close();  // all of it is processed
    return count;
}

}  // namespace

int main() {
    std::string place_name = std::filesystem::temp_directory_path() / "klineagg-XXXXXX";
    const std::filesystem::path place = mkdtemp(place_name.data());
    {
        // Without a path, the user's bus in the shared memory, which all of his programs share.
        const bus::Folder folder((place / "bus").string());
        const std::string logs = (place / "logs").string();
        bus::LoggedPublisher publisher(folder, "quotes", "desk", quote_type(), logs);

        bus::Subscriber live(folder, "quotes", quote_type());
        publish(publisher, 3);
        // Until nothing comes for so long; in another thread, until live.stop().
        live.run<Quote>(
            [](std::span<const Quote> quotes) {
                for (const Quote& quote : quotes) {
                    std::printf("quote %llu: %.1f %.1f\n",
                                static_cast<unsigned long long>(quote.header.sequence), quote.bid,
                                quote.ask);
                }
            },
            0);

        std::printf("%zu, then ", resumed(folder, logs));
        publish(publisher, 2);
        std::printf("%zu resumed\n", resumed(folder, logs));

        // Two at a time, or what is there 1 ms after the first.
        bus::Delayed delayed(live, {.batch_size = 2, .interval = 1'000'000, .key = ""});
        delayed.run<Quote>(
            [](std::span<const Quote> quotes) { std::printf("%zu at once\n", quotes.size()); },
            100'000'000);

        bus::LogReplay history(bus::log_directory(logs, "quotes", "desk"), quote_type(),
                               bus::ReplayRange{.first = 2, .end = 5});
        std::vector<std::byte> records;
        while (history.next(records)) {
        }
        std::printf("%zu in the history from 2 to 4\n", records.size() / sizeof(Quote));
        std::printf("%llu lost\n", static_cast<unsigned long long>(live.lost()));
    }
    std::filesystem::remove_all(place);
}
