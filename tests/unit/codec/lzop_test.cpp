#include "codec/lzop.hpp"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <functional>
#include <thread>

#include <doctest/doctest.h>

#include "base/error.hpp"
#include "io/standard_streams.hpp"
#include "support/memory_file.hpp"
#include "support/random.hpp"
#include "support/temporary_directory.hpp"

using namespace vmad;
using namespace vmad::codec;
using support::TemporaryDirectory;
using testing::Bytes;
using testing::MemorySource;
using testing::Random;
using testing::View;
using namespace std::chrono_literals;

namespace {

/// For tests in which lzop hangs; others have the normal patience, because a busy machine is slow.
constexpr auto kPatience = 300ms;

/// Bytes of which about half can be compressed, in stretches of all lengths.
Bytes some_bytes(std::size_t size, std::uint64_t seed) {
    Random random(seed);
    Bytes bytes(size);
    for (std::size_t at = 0; at < size;) {
        const auto count = std::min<std::size_t>(size - at, 1 + random.below(100'000));
        if (random.chance(0.5)) random.fill({bytes.data() + at, count});
        at += count;
    }
    return bytes;
}

Bytes joined(View first, View second) {
    Bytes both(first.begin(), first.end());
    both.insert(both.end(), second.begin(), second.end());
    return both;
}

Bytes bytes_of(const std::string& text) {
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    return {first, first + text.size()};
}

std::string text_of(View bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

class MemorySink final : public io::ByteSink {
  public:
    Bytes bytes;
    std::function<void()> before_append = [] {};

    void append(std::span<iovec> slices, std::uint64_t) override {
        before_append();
        for (const auto& slice : slices) {
            const auto* from = static_cast<const std::byte*>(slice.iov_base);
            bytes.insert(bytes.end(), from, from + slice.iov_len);
        }
    }
    [[nodiscard]] std::uint64_t written_bytes() const noexcept override { return bytes.size(); }
};

/// A source that does something before each read.
class WatchedSource final : public io::ByteSource {
  public:
    WatchedSource(View bytes, std::function<void(std::uint64_t done_bytes)> before_read)
        : inner_(bytes), before_read_(std::move(before_read)) {}
    [[nodiscard]] std::size_t read(std::span<iovec> into) override {
        before_read_(inner_.progress().done_bytes);
        return inner_.read(into);
    }
    [[nodiscard]] std::optional<std::uint64_t> size_bytes() const override { return inner_.size_bytes(); }
    [[nodiscard]] io::SourceProgress progress() const override { return inner_.progress(); }

  private:
    MemorySource inner_;
    std::function<void(std::uint64_t)> before_read_;
};

/// Reads to the end in pieces of any size, down to a byte.
Bytes read_all(io::ByteSource& source, std::uint64_t seed = 1) {
    Random random(seed);
    Bytes all;
    for (;;) {
        Bytes piece(1 + random.below(random.chance(0.5) ? 10 : 500'000));
        const auto half = piece.size() / 2;
        iovec slices[] = {{piece.data(), half}, {nullptr, 0}, {piece.data() + half, piece.size() - half}};
        const auto count = source.read(slices);
        all.insert(all.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(count));
        if (count < piece.size()) return all;
    }
}

Bytes decompressed(View stored, bool warns = false) {
    MemorySource source(stored);
    const auto decoder = make_lzop_decoder(source, nullptr);
    auto all = read_all(*decoder);
    Bytes more(1);
    iovec slice{more.data(), more.size()};
    CHECK(decoder->read({&slice, 1}) == 0);
    CHECK(decoder->progress().done_bytes == stored.size());
    CHECK(decoder->progress().total_bytes == stored.size());
    CHECK(decoder->warning().empty() != warns);
    return all;
}

Bytes compressed(View bytes) {
    MemorySink to;
    LzopSink sink(to, nullptr);
    Random random(7);
    Bytes copy(bytes.begin(), bytes.end());
    for (std::size_t at = 0; at < copy.size();) {
        const auto count = std::min<std::size_t>(copy.size() - at, 1 + random.below(4'000'000));
        iovec slices[] = {{copy.data() + at, count / 3}, {copy.data() + at + count / 3, count - count / 3}};
        sink.append(slices, count);
        at += count;
    }
    sink.finish();
    CHECK(sink.written_bytes() == to.bytes.size());
    return to.bytes;
}

/// What a shell command makes of some bytes: the stock lzop, apart from the code under test.
Bytes piped(const std::string& command, View bytes) {
    TemporaryDirectory directory;
    directory.write("in", text_of(bytes));
    const auto line = command + " < " + directory / "in" + " > " + directory / "out";
    REQUIRE(std::system(line.c_str()) == 0);
    return bytes_of(directory.read("out"));
}

std::string message_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const base::FormatError& error) {
        return std::string("FormatError ") + error.what();
    } catch (const base::Error& error) {
        return error.what();
    } catch (const base::Cancelled&) {
        return "cancelled";
    }
    return "";
}

std::string decoding_message(View stored) {
    return message_of([&] { (void)decompressed(stored); });
}

/// Puts a program of this name, a shell script, in front of the PATH, which is then as before.
class FakeLzop {
  public:
    explicit FakeLzop(const std::string& script) : FakeLzop("#!/bin/sh\n", script) {}
    FakeLzop(const std::string& first_line, const std::string& script) {
        directory_.write("lzop", first_line + "echo $$ > " + directory_ / "pid" + "\n" + script + "\n");
        REQUIRE(::chmod((directory_ / "lzop").c_str(), 0700) == 0);
        ::setenv("PATH", (directory_.path() + ":" + old_).c_str(), 1);
    }
    FakeLzop(const FakeLzop&) = delete;
    FakeLzop& operator=(const FakeLzop&) = delete;
    ~FakeLzop() { ::setenv("PATH", old_.c_str(), 1); }

    /// The program is gone, and was waited for.
    void check_gone() const {
        CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
        CHECK(errno == ECHILD);
        if (!directory_.has("pid") || directory_.read("pid").empty()) return;
        CHECK(::kill(std::stoi(directory_.read("pid")), 0) == -1);
        CHECK(errno == ESRCH);
    }

  private:
    TemporaryDirectory directory_;
    std::string old_ = ::getenv("PATH");
};

const Bytes& sample() {
    static const Bytes bytes = some_bytes(1'000'000, 3);
    return bytes;
}
const Bytes& stored_sample() {
    static const Bytes bytes = compressed(sample());
    return bytes;
}

}  // namespace

TEST_CASE("what is compressed is decompressed, here and by the stock lzop") {
    for (const std::size_t size : {0U, 1U, 100U, 262'144U, 262'145U, 3'000'000U, 40U << 20}) {
        CAPTURE(size);
        const auto bytes = some_bytes(size, size);
        const auto ours = compressed(bytes);
        CHECK(decompressed(ours) == bytes);
        CHECK(piped("lzop -d -c", ours) == bytes);
        CHECK(decompressed(piped("lzop -c", bytes)) == bytes);
    }
}

TEST_CASE("files of other options, and several behind each other, are legal; anything behind them is not") {
    for (const std::string options : {"", "-9", "-1 -F", "--crc32", "-1 --crc32 -F"}) {
        CAPTURE(options);
        const auto stored = piped("lzop -c " + options, sample());
        CHECK(decompressed(stored) == sample());
        const auto twice = joined(stored, stored);
        CHECK(decompressed(twice, true) == joined(sample(), sample()));
        CHECK(decompressed(joined(stored, twice), true) == joined(sample(), joined(sample(), sample())));
        CHECK(decompressed(joined(twice, Bytes(1000)), true) ==
              joined(sample(), sample()));  // lzop ignores zeros
    }
    const std::string refused = ": lzop cannot decompress it: ";
    const std::string garbage = "lzop: <stdin>: warning: ignoring trailing garbage in lzop file";
    for (const std::string tail : {"\n", "garbage", "\x89LZO"}) {
        CHECK(decoding_message(joined(stored_sample(), bytes_of(tail))) ==
              "FormatError at byte 1000000" + refused + garbage);
        CHECK(decoding_message(joined(joined(stored_sample(), stored_sample()), bytes_of(tail)))
                  .starts_with("FormatError at byte 2000000" + refused));
    }
    CHECK(decoding_message({}) == "FormatError at byte 0" + refused + "lzop: <stdin>: not a lzop file");
    CHECK(decoding_message(sample()) == "FormatError at byte 0" + refused + "lzop: <stdin>: not a lzop file");
}

TEST_CASE("a file cut short anywhere is refused" * doctest::test_suite("single-threaded")) {
    const auto& stored = stored_sample();
    Random random(5);
    for (std::size_t i = 0; i < 200; ++i) {
        const auto size = i < 60 ? i : i < 100 ? stored.size() - 1 - (i - 60) : random.below(stored.size());
        CAPTURE(size);
        const auto message = decoding_message({stored.data(), size});
        CHECK(message.starts_with("FormatError "));
        CHECK(message.ends_with(size < 9 ? "lzop: <stdin>: not a lzop file"
                                         : "lzop cannot decompress it: it ends too early"));
    }
}

TEST_CASE("a changed bit is refused" * doctest::test_suite("single-threaded")) {
    Random random(6);
    for (int i = 0; i < 150; ++i) {
        auto stored = stored_sample();
        const auto bit = i < 50 ? random.below(80 * 8) : random.below(stored.size() * 8);
        CAPTURE(bit);
        stored[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
        CHECK(decoding_message(stored).starts_with("FormatError "));
    }
}

TEST_CASE("an lzop that misbehaves when it decompresses") {
    const std::string refused = "FormatError at byte 0: lzop cannot decompress it: ";
    const std::string hangs = "lzop has done nothing for 0.3 s and was killed";
    const std::string complains = "{ echo first line; head -c 1048576 /dev/zero | tr '\\0' x; } >&2; ";
    const struct {
        std::string script;
        std::string message;
    } cases[] = {
        {"printf '\\n\\033[31mno\\177 such\\tthing\\nmore\\n' >&2; exit 3",
         "lzop failed with exit status 3: \\x1b[31mno\\x7f such\\x09thing"},
        {"echo 'lzop: <stdin>: Checksum error' >&2; exit 1", refused + "lzop: <stdin>: Checksum error"},
        {"exit 1", refused + "it does not say why"},
        {"exit 2", refused + "it does not say why"},
        {"echo abc; exit 1", "FormatError at byte 4: lzop cannot decompress it: it does not say why"},
        {"exit 77", "lzop failed with exit status 77: it does not say why"},
        {"kill -KILL $$", "lzop was ended by signal 9"},
        {"kill -SEGV $$", "lzop was ended by signal 11"},
        {"cat > /dev/null; kill -KILL $$", "lzop was ended by signal 9"},
        {"exec sleep 1000", hangs},
        {"cat > /dev/null; exec sleep 1000", hangs},
        {"cat; exec sleep 1000", hangs},
        {"exec >&-; exec sleep 1000", hangs},
        {"exec <&-; exec sleep 1000", hangs},
        {"kill -STOP $$", hangs},
        {complains + "cat > /dev/null; exit 1", refused + "first line"},
        {complains + "exit 1", refused + "first line"},
        {complains + "exec sleep 1000", hangs},
        {"exit 0", refused + "it was not read to its end"},
        {"exec >&-; exit 0", refused + "it was not read to its end"},
        {"head -c 3 > /dev/null", refused + "it was not read to its end"},
        // Told to end like everything around it, it does not: that is for us to do.
        {"kill -TERM $$; kill -INT $$; kill -HUP $$; exit 9",
         "lzop failed with exit status 9: it does not say why"},
        {"test -z \"$LZOP\" || exit 8; exit 1", refused + "it does not say why"},
    };
    ::setenv("LZOP", "-9", 1);
    const Bytes small(100);
    const Bytes large(8 << 20);
    for (const auto& [script, message] : cases) {
        CAPTURE(script);
        const auto patience = message == hangs ? kPatience : kLzopPatience;
        for (const auto& stored : {small, large}) {
            const FakeLzop fake(script);
            MemorySource source(stored);
            {
                const auto decoder = make_lzop_decoder(source, nullptr, patience);
                CHECK(message_of([&] { (void)read_all(*decoder); }) == message);
            }
            fake.check_gone();
        }
    }
    ::unsetenv("LZOP");
}

TEST_CASE("an lzop that cannot be run") {
    MemorySource source(sample());
    MemorySink to;
    {
        const FakeLzop fake("#!/no/such/interpreter\n", "");
        const std::string why = "/lzop: No such file or directory";
        CHECK(message_of([&] { (void)read_all(*make_lzop_decoder(source, nullptr)); }).ends_with(why));
        CHECK(message_of([&] { LzopSink(to, nullptr).finish(); }).ends_with(why));
    }
    const TemporaryDirectory empty;
    const std::string old = ::getenv("PATH");
    const std::string missing = "lzop is needed for .lzo and is not installed: apt install lzop";
    empty.write("lzop", "not executable");
    for (const std::string& path :
         {empty.path(), std::string(), std::string(":.:relative"), "/nonexistent:" + empty.path()}) {
        ::setenv("PATH", path.c_str(), 1);
        CHECK(message_of([&] { (void)make_lzop_decoder(source, nullptr); }) == missing);
        CHECK(message_of([&] { LzopSink(to, nullptr).finish(); }) == missing);
        ::setenv("PATH", old.c_str(), 1);
    }
}

TEST_CASE("output that nobody checks is handed out, and an endless one is left") {
    MemorySource source(sample());
    {
        const FakeLzop fake("cat > /dev/null; echo garbage");
        CHECK(text_of(read_all(*make_lzop_decoder(source, nullptr))) == "garbage\n");
        fake.check_gone();
    }
    const FakeLzop fake("exec yes");
    {
        const auto decoder = make_lzop_decoder(source, nullptr);
        Bytes piece(5'000'000);
        iovec slice{piece.data(), piece.size()};
        CHECK(decoder->read({&slice, 1}) == piece.size());
    }
    fake.check_gone();
}

TEST_CASE("a slow source, reader or sink is no hanging lzop") {
    const auto patience = 1s;
    const auto pause = [&] { std::this_thread::sleep_for(2 * patience); };
    const auto bytes = some_bytes(2'500'000, 9);
    const auto stored = compressed(bytes);
    WatchedSource source(stored, [&](std::uint64_t done_bytes) {
        if (done_bytes > 0 && done_bytes < stored.size()) pause();
    });
    CHECK(read_all(*make_lzop_decoder(source, nullptr, patience)) == bytes);

    MemorySource quick(stored);
    const auto decoder = make_lzop_decoder(quick, nullptr, patience);
    Bytes piece(1'000'000);
    iovec into{piece.data(), piece.size()};
    CHECK(decoder->read({&into, 1}) == piece.size());
    pause();
    CHECK(read_all(*decoder).size() == bytes.size() - piece.size());

    MemorySink to;
    int pauses = 1;
    to.before_append = [&] {
        if (pauses-- > 0) pause();
    };
    LzopSink sink(to, nullptr, patience);
    auto copy = bytes;
    iovec slice{copy.data(), copy.size()};
    sink.append({&slice, 1}, copy.size());
    sink.finish();
    CHECK(decompressed(to.bytes) == bytes);
}

TEST_CASE("an error of the source is the decoder's") {
    for (const std::uint64_t failing_at : {std::uint64_t{0}, std::uint64_t{1} << 20}) {
        const auto stored = compressed(some_bytes(3'000'000, 4));
        WatchedSource source(stored, [&](std::uint64_t done_bytes) {
            if (done_bytes >= failing_at) throw base::SystemError(EIO, "read", "a.vma.lzo");
        });
        const auto decoder = make_lzop_decoder(source, nullptr);
        CHECK(message_of([&] { (void)read_all(*decoder); }) == "read a.vma.lzo: Input/output error");
    }
}

TEST_CASE("an lzop that misbehaves when it compresses") {
    const std::string hangs = "lzop has done nothing for 0.3 s and was killed";
    const struct {
        std::string script;
        std::string message;
    } cases[] = {
        {"echo 'lzop: out of memory' >&2; exit 1", "lzop failed with exit status 1: lzop: out of memory"},
        {"cat > /dev/null; exit 2", "lzop failed with exit status 2: it does not say why"},
        {"kill -KILL $$", "lzop was ended by signal 9"},
        {"cat > /dev/null; kill -SEGV $$", "lzop was ended by signal 11"},
        {"exec sleep 1000", hangs},
        {"cat > /dev/null; exec sleep 1000", hangs},
        {"exec >&-; exec sleep 1000", hangs},
        {"head -c 1048576 /dev/zero | tr '\\0' x >&2; cat > /dev/null; exec sleep 1000", hangs},
        {"exit 0", "lzop ended before it had read everything"},
        {"echo garbage", "lzop ended before it had read everything"},
        // Its output stays open when it has ended.
        {"cat > /dev/null; sleep 2 & exit 0", hangs},
    };
    for (const auto& [script, message] : cases) {
        CAPTURE(script);
        const auto patience = message == hangs ? kPatience : kLzopPatience;
        for (const std::size_t size : {100U, 8U << 20}) {
            const FakeLzop fake(script);
            {
                MemorySink to;
                LzopSink sink(to, nullptr, patience);
                Bytes bytes(size);
                iovec slice{bytes.data(), bytes.size()};
                CHECK(message_of([&] {
                          sink.append({&slice, 1}, size);
                          sink.finish();
                      }) == message);
            }
            fake.check_gone();
        }
    }
}

TEST_CASE("an error of the sink behind lzop is its own") {
    for (const std::size_t limit : {std::size_t{0}, std::size_t{3'000'000}}) {
        for (const std::size_t size : {100U, 20U << 20}) {
            if (size < limit) continue;
            MemorySink to;
            to.before_append = [&] {
                if (to.bytes.size() >= limit) throw io::NoSpace("full");
            };
            LzopSink sink(to, nullptr);
            auto bytes = some_bytes(size, 1);
            iovec slice{bytes.data(), bytes.size()};
            const auto write = [&] {
                sink.append({&slice, 1}, size);
                sink.finish();
            };
            CHECK_THROWS_AS(write(), io::NoSpace);
        }
    }
}

TEST_CASE("a sink that is not finished leaves nothing running") {
    const FakeLzop fake("exec cat");
    {
        MemorySink to;
        LzopSink sink(to, nullptr);
        Bytes bytes(5'000'000);
        iovec slice{bytes.data(), bytes.size()};
        sink.append({&slice, 1}, bytes.size());
    }
    fake.check_gone();
}

TEST_CASE("a stop ends every wait") {
    const auto stopped = [](const std::function<void(const base::CancelFlag&)>& work) {
        base::CancelFlag cancel;
        std::thread stopper([&] {
            std::this_thread::sleep_for(100ms);
            cancel.request();
        });
        const auto message = message_of([&] { work(cancel); });
        stopper.join();
        return message;
    };
    for (const std::string script :
         {"exec sleep 1000", "cat > /dev/null; exec sleep 1000", "exec >&-; exec sleep 1000"}) {
        CAPTURE(script);
        const FakeLzop fake(script);
        CHECK(stopped([](const base::CancelFlag& cancel) {
                  MemorySource source(sample());
                  (void)read_all(*make_lzop_decoder(source, &cancel));
              }) == "cancelled");
        CHECK(stopped([](const base::CancelFlag& cancel) {
                  MemorySink to;
                  LzopSink sink(to, &cancel);
                  auto bytes = sample();
                  iovec slice{bytes.data(), bytes.size()};
                  sink.append({&slice, 1}, bytes.size());
                  sink.finish();
              }) == "cancelled");
        fake.check_gone();
    }
    // Here lzop waits for a pipe into which nobody writes.
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    const base::UniqueFd in(ends[0]);
    const base::UniqueFd out(ends[1]);
    CHECK(stopped([&](const base::CancelFlag& cancel) {
              io::StreamSource source(in.get(), "standard input", &cancel);
              (void)read_all(*make_lzop_decoder(source, &cancel, kPatience));
          }) == "cancelled");
}
