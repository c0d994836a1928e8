// Compresses and decompresses .lzo through the lzop program, as vzdump does: its stdin and stdout, its exit
// status checked, its stderr quoted in the error.
//
// lzop is looked for in the PATH only when it is needed. The program dies with the thread that started it,
// and is killed and reaped by the destructors: one thread makes and destroys the objects, and outlives them.
// One thread at a time; each has a thread of its own for the other end.
#pragma once

#include <chrono>
#include <memory>

#include "base/task.hpp"
#include "codec/decoder.hpp"
#include "io/byte_stream.hpp"

namespace vmad::codec {

/// An lzop that neither takes nor gives a byte for so long, though it has something to do, hangs.
inline constexpr std::chrono::milliseconds kLzopPatience{60000};

/// Throws base::Error when there is no lzop to be run. `stored` and the flag outlive the decoder, which reads
/// `stored` in a thread of its own, ahead of what it hands out. The destructor
/// waits for a read of `stored` that has begun: one that may wait for ever must heed a cancel flag.
///
/// lzop's complaint about the data is a FormatError; its death by a signal, an exit status that lzop does not
/// have, and a hang are base::Error. What lzop gave out before is handed out, but never the end.
[[nodiscard]] std::unique_ptr<Decoder> make_lzop_decoder(io::ByteSource& stored,
                                                         const base::CancelFlag* cancel,
                                                         std::chrono::milliseconds patience = kLzopPatience);

/// What is appended goes through lzop to another sink.
class LzopSink final : public io::ByteSink {
  public:
    /// Throws base::Error when there is no lzop to be run. `to` and the flag outlive this object; `to` is
    /// written to in a thread of its own until finish() returns or this object is gone.
    LzopSink(io::ByteSink& to, const base::CancelFlag* cancel,
             std::chrono::milliseconds patience = kLzopPatience);
    LzopSink(const LzopSink&) = delete;
    LzopSink& operator=(const LzopSink&) = delete;
    /// Without finish(): what was written is no whole .lzo file. Waits for an append to `to` that has begun.
    ~LzopSink() override;

    /// Throws what `to` throws, base::Error when lzop failed or hangs, base::Cancelled.
    void append(std::span<iovec> slices, std::uint64_t size_bytes) override;
    /// Everything has arrived in `to`. Throws as append() does.
    void finish();
    [[nodiscard]] std::uint64_t written_bytes() const noexcept override;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace vmad::codec
