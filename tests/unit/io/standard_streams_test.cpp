#include "io/standard_streams.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"

using namespace vmad;
using io::StreamSink;
using io::StreamSource;
using testing::Bytes;
using testing::Random;
using namespace std::chrono_literals;

namespace {

struct Ends {
    base::UniqueFd in;
    base::UniqueFd out;
};

enum class Channel { pipe, socket, waking_pipe, waking_socket };

/// The waking ones do not block, as if another process had left them so.
Ends open_channel(Channel channel) {
    std::array<int, 2> fds;
    const bool socket = channel == Channel::socket || channel == Channel::waking_socket;
    const bool waking = channel == Channel::waking_pipe || channel == Channel::waking_socket;
    if (socket)
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()) == 0);
    else
        REQUIRE(::pipe2(fds.data(), O_CLOEXEC) == 0);
    for (const int fd : fds)
        if (waking) REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return {base::UniqueFd(fds[0]), base::UniqueFd(fds[1])};
}

Bytes random_bytes(std::size_t size) {
    Bytes bytes(size);
    Random(size).fill(bytes);
    return bytes;
}

/// Cuts memory into slices, some of them empty.
std::vector<iovec> slices_of(std::span<std::byte> bytes, Random& random, std::size_t largest) {
    std::vector<iovec> slices;
    while (!bytes.empty()) {
        const auto count = std::min<std::size_t>(bytes.size(), random.below(largest + 1));
        slices.push_back({bytes.data(), count});
        bytes = bytes.subspan(count);
    }
    slices.push_back({nullptr, 0});
    return slices;
}

Bytes read_all(io::ByteSource& source, std::uint64_t seed) {
    Random random(seed);
    Bytes all;
    for (;;) {
        Bytes piece(1 + random.below(300'000));
        auto slices = slices_of(piece, random, 1 + random.below(2'000));
        const auto count = source.read(slices);
        all.insert(all.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(count));
        CHECK(source.progress().done_bytes == all.size());
        if (count < piece.size()) return all;
    }
}

void write_all(io::ByteSink& sink, Bytes bytes, std::uint64_t seed) {
    Random random(seed);
    std::span<std::byte> rest(bytes);
    while (!rest.empty()) {
        const auto count = std::min<std::size_t>(rest.size(), 1 + random.below(4'000'000));
        auto slices = slices_of(rest.first(count), random, 1 + random.below(100'000));
        sink.append(slices, count);
        rest = rest.subspan(count);
    }
}

std::string message_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const io::NoSpace& error) {
        return std::string("NoSpace ") + error.what();
    } catch (const base::Error& error) {
        return error.what();
    } catch (const base::Cancelled&) {
        return "cancelled";
    }
    return "";
}

/// What comes of the work when a stop is requested meanwhile.
std::string stopped(base::CancelFlag& flag, const std::function<void()>& work) {
    std::thread stopper([&] {
        std::this_thread::sleep_for(100ms);
        flag.request();
    });
    const auto message = message_of(work);
    stopper.join();
    return message;
}

std::string read_one(int fd) {
    return message_of([fd] {
        StreamSource source(fd, "standard input", nullptr);
        std::byte byte;
        iovec slice{&byte, 1};
        (void)source.read({&slice, 1});
    });
}

std::string write_one(int fd) {
    return message_of([fd] {
        StreamSink sink(fd, "standard output", nullptr);
        std::byte byte{};
        iovec slice{&byte, 1};
        sink.append({&slice, 1}, 1);
    });
}

}  // namespace

TEST_CASE("what goes in comes out, through anything that carries bytes") {
    for (const auto channel :
         {Channel::pipe, Channel::socket, Channel::waking_pipe, Channel::waking_socket}) {
        for (const std::size_t size : {0U, 1U, 4095U, 4097U, 20'000'000U}) {
            CAPTURE(size);
            auto [in, out] = open_channel(channel);
            const int flags = ::fcntl(out.get(), F_GETFL);
            const auto bytes = random_bytes(size);
            StreamSource source(in.get(), "standard input", nullptr);
            StreamSink sink(out.get(), "standard output", nullptr);
            std::thread writer([&] {
                write_all(sink, bytes, size);
                CHECK(::fcntl(out.get(), F_GETFL) == flags);
                out.reset();
            });
            CHECK(read_all(source, size + 1) == bytes);
            writer.join();
            CHECK(sink.written_bytes() == size);
            CHECK_FALSE(source.size_bytes());
        }
    }
}

TEST_CASE("a file is read and written where it stands, in more slices than one call takes") {
    const auto file = testing::memory_file(random_bytes(100));
    REQUIRE(::lseek(file.fd(), 40, SEEK_SET) == 40);
    auto bytes = random_bytes(5'000);
    std::vector<iovec> slices;
    for (auto& byte : bytes) slices.push_back({&byte, 1});
    StreamSink(file.fd(), "standard output", nullptr).append(slices, bytes.size());
    CHECK(testing::content_of(file).size() == 5'040);

    REQUIRE(::lseek(file.fd(), 40, SEEK_SET) == 40);
    Bytes back(5'001);
    slices.clear();
    for (auto& byte : back) slices.push_back({&byte, 1});
    StreamSource source(file.fd(), "standard input", nullptr);
    CHECK(source.read(slices) == bytes.size());
    back.pop_back();
    CHECK(back == bytes);
}

TEST_CASE("signals neither lose nor double a byte") {
    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = [](int) {};
    action.sa_flags = SA_RESTART;
    for (const int flags : {0, SA_RESTART}) {
        action.sa_flags = flags;
        REQUIRE(::sigaction(SIGUSR1, &action, &before) == 0);
        auto [in, out] = open_channel(Channel::pipe);
        const auto bytes = random_bytes(8'000'000);
        StreamSource source(in.get(), "standard input", nullptr);
        StreamSink sink(out.get(), "standard output", nullptr);
        std::atomic<bool> done{false};
        std::thread writer([&] {
            write_all(sink, bytes, 1);
            done = true;
        });
        std::thread pest([&, reader = ::pthread_self(), writing = writer.native_handle()] {
            while (!done) {
                ::pthread_kill(reader, SIGUSR1);
                ::pthread_kill(writing, SIGUSR1);
                std::this_thread::sleep_for(50us);
            }
            out.reset();
        });
        CHECK(read_all(source, 2) == bytes);
        pest.join();
        writer.join();
        ::sigaction(SIGUSR1, &before, nullptr);
    }
}

TEST_CASE("a stop ends a wait for the other end") {
    for (const auto channel :
         {Channel::pipe, Channel::socket, Channel::waking_pipe, Channel::waking_socket}) {
        auto [in, out] = open_channel(channel);
        base::CancelFlag reading;
        CHECK(stopped(reading, [&, &input = in] {
                  StreamSource source(input.get(), "standard input", &reading);
                  (void)read_all(source, 1);
              }) == "cancelled");
        base::CancelFlag writing;
        StreamSink sink(out.get(), "standard output", &writing);
        CHECK(stopped(writing, [&] { write_all(sink, random_bytes(3'000'000), 1); }) == "cancelled");
        // What it says to have written is what is there to be read.
        int waiting = 0;
        REQUIRE(::ioctl(in.get(), FIONREAD, &waiting) == 0);
        CHECK(sink.written_bytes() == static_cast<std::uint64_t>(waiting));
    }
}

TEST_CASE("errors name the call and the stream") {
    {
        auto [in, out] = open_channel(Channel::pipe);
        const int closed = ::fcntl(in.get(), F_DUPFD_CLOEXEC, 500);
        ::close(closed);
        CHECK(read_one(closed) == "read standard input: Bad file descriptor");
        CHECK(write_one(closed) == "stat standard output: Bad file descriptor");
    }
    const base::UniqueFd directory(::open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY));
    CHECK(read_one(directory.get()) == "read standard input: Is a directory");
    const base::UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    CHECK(write_one(full.get()) == "NoSpace write standard output: No space left on device");

    // The reader is gone; SIGPIPE, which the caller decides about, is held back here.
    sigset_t broken_pipe;
    ::sigemptyset(&broken_pipe);
    ::sigaddset(&broken_pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    for (const auto channel : {Channel::pipe, Channel::socket, Channel::waking_pipe}) {
        auto [in, out] = open_channel(channel);
        in.reset();
        CHECK(write_one(out.get()) == "write standard output: Broken pipe");
        const timespec at_once{};
        ::sigtimedwait(&broken_pipe, nullptr, &at_once);
    }
    ::pthread_sigmask(SIG_UNBLOCK, &broken_pipe, nullptr);
}
