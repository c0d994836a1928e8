#include "io/read_queue.hpp"

#include <fcntl.h>
#include <libaio.h>

#include <array>
#include <deque>
#include <optional>

#include "io/file_system.hpp"

namespace vmad::io {
namespace {

class WaitingReads final : public ReadQueue {
  public:
    WaitingReads(FileSystem& fs, const File& file)
        : fs_(fs), file_(file), passes_cache_((::fcntl(file.fd(), F_GETFL) & O_DIRECT) != 0) {}

    void start(std::span<std::byte> into, std::uint64_t offset) override {
        // It would be read twice otherwise, once into the cache.
        if (!passes_cache_) fs_.advise(file_, offset, into.size(), POSIX_FADV_WILLNEED);
        reads_.push_back({into, offset});
    }
    std::size_t finish() override {
        const auto [into, offset] = reads_.front();
        reads_.pop_front();
        const iovec slice{into.data(), into.size()};
        return fs_.read_at(file_, {&slice, 1}, offset);
    }

  private:
    struct Read {
        std::span<std::byte> into;
        std::uint64_t offset;
    };
    FileSystem& fs_;
    const File& file_;
    bool passes_cache_;
    std::deque<Read> reads_;
};

class KernelReads final : public ReadQueue {
  public:
    KernelReads(const File& file, io_context_t context) : file_(file), context_(context) {}
    ~KernelReads() override { io_destroy(context_); }

    void start(std::span<std::byte> into, std::uint64_t offset) override {
        auto& read = reads_.emplace_back();
        iocb* control = &read.control;
        io_prep_pread(control, file_.fd(), into.data(), into.size(), static_cast<long long>(offset));
        control->data = &read;
        const int result = io_submit(context_, 1, &control);
        if (result < 0) read.result = result;
    }

    std::size_t finish() override {
        while (!reads_.front().result) collect();
        const auto result = *reads_.front().result;
        reads_.pop_front();
        if (result < 0) throw base::SystemError(static_cast<int>(-result), "read", file_.path());
        return static_cast<std::size_t>(result);
    }

  private:
    struct Read {
        iocb control{};
        std::optional<long> result;  ///< bytes, or a negated errno value
    };

    void collect() {
        std::array<io_event, 16> events;
        const int count = io_getevents(context_, 1, events.size(), events.data(), nullptr);
        if (count < 0 && count != -EINTR) throw base::SystemError(-count, "read", file_.path());
        for (int i = 0; i < count; ++i)
            static_cast<Read*>(events[i].data)->result = static_cast<long>(events[i].res);
    }

    const File& file_;
    const io_context_t context_;
    std::deque<Read> reads_;  ///< the kernel has addresses in it
};

}  // namespace

std::unique_ptr<ReadQueue> waiting_reads(FileSystem& fs, const File& file) {
    return std::make_unique<WaitingReads>(fs, file);
}

std::unique_ptr<ReadQueue> kernel_reads(const File& file, unsigned depth) {
    io_context_t context = nullptr;
    if (io_setup(static_cast<int>(depth), &context) != 0) return nullptr;
    return std::make_unique<KernelReads>(file, context);
}

}  // namespace vmad::io
