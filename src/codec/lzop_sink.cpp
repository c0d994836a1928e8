// Compresses through lzop: the writer feeds it, a thread hands on what comes out.

#include <atomic>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "codec/lzop.hpp"
#include "codec/lzop_run.hpp"
#include "io/byte_stream.hpp"

namespace vmad::codec {

struct LzopSink::State {
    State(io::ByteSink& sink, const base::CancelFlag* flag, std::chrono::milliseconds how_long)
        : to(sink),
          cancel(flag),
          patience(how_long),
          written_bytes(sink.written_bytes()),
          lzop(start_lzop({"-c"})),
          drainer([this] { drain(); }) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        other.stop.request();
        lzop.kill();
        drainer.join();
    }

    void drain() noexcept;
    static void check_end(const ProgramEnd& end, bool early);

    io::ByteSink& to;
    const base::CancelFlag* cancel;
    std::chrono::milliseconds patience;
    std::atomic<std::uint64_t> written_bytes;  ///< a copy: the sink is the drainer's
    OtherEnd other;
    ChildProgram lzop;
    std::thread drainer;
};

void LzopSink::State::drain() noexcept {
    try {
        std::vector<std::byte> piece(kLzopPieceBytes);
        while (!other.stop.requested()) {
            iovec slice{piece.data(), piece.size()};
            const auto count = lzop.receive({&slice, 1}, kLzopSlice);
            if (!count) continue;
            if (*count == 0) break;
            other.outside([&] {
                slice.iov_len = *count;
                to.append({&slice, 1}, *count);
                written_bytes = to.written_bytes();
            });
        }
    } catch (...) {
        other.error.capture();
    }
    other.end();
}

void LzopSink::State::check_end(const ProgramEnd& end, bool early) {
    check_ended(end, 0);
    if (early || end.left_input) throw base::Error("lzop ended before it had read everything");
}

LzopSink::LzopSink(io::ByteSink& to, const base::CancelFlag* cancel, std::chrono::milliseconds patience)
    : state_(std::make_unique<State>(to, cancel, patience)) {}

LzopSink::~LzopSink() = default;

void LzopSink::append(std::span<iovec> slices, std::uint64_t) {
    Watch watch(state_->lzop, state_->other, state_->cancel, state_->patience);
    io::use_up(slices, 0);
    while (!slices.empty()) {
        watch.begin_slice();
        const auto count = state_->lzop.send(slices, kLzopSlice);
        if (!count) {
            State::check_end(watch.wait_end(), true);
        } else if (*count == 0) {
            watch.note_idle();
        } else {
            watch.note_progress();
            io::use_up(slices, *count);
        }
    }
}

void LzopSink::finish() {
    Watch watch(state_->lzop, state_->other, state_->cancel, state_->patience);
    state_->lzop.end_input();
    State::check_end(watch.wait_end(), false);
    for (watch.begin_slice(); !state_->other.wait_end(kLzopSlice); watch.begin_slice()) watch.note_idle();
    state_->other.error.rethrow();
}

std::uint64_t LzopSink::written_bytes() const noexcept { return state_->written_bytes; }

}  // namespace vmad::codec
