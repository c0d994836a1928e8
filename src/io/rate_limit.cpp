#include "io/rate_limit.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <utility>

#include "base/error.hpp"

namespace vmad::io {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
/// Nobody sleeps longer without looking whether he still has to.
constexpr std::uint64_t kLongestSleep = kSecond / 10;
/// What was not used may be used this much later.
constexpr std::uint64_t kBurst = kSecond / 10;
/// Taken at once is at most what this part of a second allows, so that a process that is killed, and one that
/// waits while the rate is changed, has not laid hands on more.
constexpr std::uint64_t kSlicesPerSecond = 10;
/// Times kSecond it still fits 64 bits.
constexpr std::uint64_t kMaxSliceBytes = std::uint64_t{1} << 30;

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

std::uint64_t now() noexcept {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);  // the same for all processes
    return static_cast<std::uint64_t>(time.tv_sec) * kSecond + static_cast<std::uint64_t>(time.tv_nsec);
}

void sleep_for(std::uint64_t nanoseconds) noexcept {
    const timespec time{static_cast<time_t>(nanoseconds / kSecond), static_cast<long>(nanoseconds % kSecond)};
    ::nanosleep(&time, nullptr);  // a signal may cut it short: the caller looks at the clock
}

/// What was read counts when it is waited for.
class LimitedReads final : public ReadQueue {
  public:
    LimitedReads(std::unique_ptr<ReadQueue> reads, const RateLimit& limit, const base::CancelFlag& cancel)
        : reads_(std::move(reads)), limit_(limit), cancel_(cancel) {}

    void start(std::span<std::byte> into, std::uint64_t offset) override { reads_->start(into, offset); }
    std::size_t finish() override {
        const auto count = reads_->finish();
        limit_.take(count, cancel_);
        return count;
    }

  private:
    std::unique_ptr<ReadQueue> reads_;
    const RateLimit& limit_;
    const base::CancelFlag& cancel_;
};

}  // namespace

struct RateLimit::Page {
    std::atomic<std::uint64_t> bytes_per_second;
    std::atomic<std::uint64_t> granted_until;  ///< on the monotonic clock, in nanoseconds
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
};

RateLimit RateLimit::create() {
    base::UniqueFd fd(::memfd_create("vmad-rate", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd) base::throw_errno("memfd_create", "for the rate limit");
    if (::ftruncate(fd.get(), sizeof(Page)) != 0) base::throw_errno("ftruncate", "the rate limit");
    // Nobody can take the page away from under the others.
    if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) base::throw_errno("seal", "the rate limit");
    return map(std::move(fd));
}

RateLimit RateLimit::attach(base::UniqueFd fd) {
    struct stat status {};
    const bool is_one = ::fcntl(fd.get(), F_GET_SEALS) == kSeals && ::fstat(fd.get(), &status) == 0 &&
                        status.st_size == sizeof(Page);
    if (!is_one) throw base::Error("the daemon passed no rate limit");
    return map(std::move(fd));
}

RateLimit RateLimit::map(base::UniqueFd fd) {
    void* memory = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (memory == MAP_FAILED) base::throw_errno("mmap", "the rate limit");
    // All zero is a valid page, that of a new limit.
    return {std::move(fd), static_cast<Page*>(memory)};
}

RateLimit::RateLimit(RateLimit&& other) noexcept
    : fd_(std::move(other.fd_)), page_(std::exchange(other.page_, nullptr)) {}

RateLimit::~RateLimit() {
    if (page_ != nullptr) ::munmap(page_, sizeof(Page));
}

void RateLimit::set_bytes_per_second(std::uint64_t rate) noexcept {
    if (page_->bytes_per_second.exchange(rate) == rate) return;
    page_->granted_until = 0;  // what was waited for under the old rate does not count any more
}

std::uint64_t RateLimit::bytes_per_second() const noexcept { return page_->bytes_per_second; }

void RateLimit::take(std::uint64_t bytes, const base::CancelFlag& cancel) const noexcept {
    while (bytes > 0) {
        const std::uint64_t rate = page_->bytes_per_second;
        if (rate == 0 || cancel.requested()) return;
        const auto allowed = std::clamp<std::uint64_t>(rate / kSlicesPerSecond, 1, kMaxSliceBytes);
        const auto slice = std::min(bytes, allowed);
        take_slice(slice, rate, cancel);
        bytes -= slice;
    }
}

void RateLimit::take_slice(std::uint64_t bytes, std::uint64_t rate,
                           const base::CancelFlag& cancel) const noexcept {
    const auto duration = bytes * kSecond / rate;
    const auto present = now();
    const auto earliest = present > kBurst ? present - kBurst : 0;
    std::uint64_t granted = page_->granted_until;
    std::uint64_t start = 0;
    do {
        start = std::max(granted, earliest);
    } while (!page_->granted_until.compare_exchange_weak(granted, start + duration));

    for (auto time = now(); time < start; time = now()) {
        if (page_->bytes_per_second != rate || cancel.requested()) return;
        sleep_for(std::min(start - time, kLongestSleep));
    }
}

std::size_t RateLimitedFileSystem::read_at(const File& file, std::span<const iovec> into,
                                           std::uint64_t offset) {
    const auto count = FileSystem::read_at(file, into, offset);
    limit_.take(count, cancel_);
    return count;
}

std::unique_ptr<ReadQueue> RateLimitedFileSystem::read_queue(const File& file, unsigned depth) {
    auto reads = kernel_reads(file, depth);
    if (!reads) return waiting_reads(*this, file);
    return std::make_unique<LimitedReads>(std::move(reads), limit_, cancel_);
}

std::size_t RateLimitedFileSystem::write_at(const File& file, std::span<const iovec> from,
                                            std::uint64_t offset) {
    const auto count = FileSystem::write_at(file, from, offset);
    limit_.take(count, cancel_);
    return count;
}

BlockSharing RateLimitedFileSystem::share_range(const File& from, std::uint64_t from_offset, const File& to,
                                                std::uint64_t to_offset, std::uint64_t size_bytes) {
    const auto sharing = FileSystem::share_range(from, from_offset, to, to_offset, size_bytes);
    // How far it has read where the ranges differ is not told.
    limit_.take(2 * (sharing.differs ? size_bytes : sharing.bytes), cancel_);
    return sharing;
}

}  // namespace vmad::io
