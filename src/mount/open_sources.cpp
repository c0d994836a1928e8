#include "mount/open_sources.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace vmad::mount {
namespace {

/// So many archives are read at once without getting in each other's way, where there is memory for them.
constexpr std::uint64_t kMaxViews = 8;
constexpr std::uint64_t kViewBytes = std::uint64_t{16} << 20;

std::uint64_t views_for(std::uint64_t memory_bytes) {
    return std::clamp<std::uint64_t>(memory_bytes / kViewBytes, 2, kMaxViews);
}

}  // namespace

class OpenSources::Source {
  public:
    Source(OpenSources& all, io::File opened, const ShownFile& shown)
        : attributes(shown.attributes), is_archive(shown.is_archive), file(std::move(opened)), all_(all) {}
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    ~Source() { all_.forget(*this); }

    const Attributes attributes;
    const bool is_archive;
    const io::File file;
    std::mutex making;                      ///< of the view
    std::shared_ptr<access::RawView> view;  ///< of an archive; of OpenSources::mutex_

  private:
    OpenSources& all_;
};

class OpenSources::Opening final : public OpenFile {
  public:
    Opening(OpenSources& all, std::shared_ptr<Source> source) : all_(all), source_(std::move(source)) {}

    std::uint64_t size_bytes() const override { return source_->attributes.size_bytes; }
    void read_at(std::uint64_t offset, std::span<std::byte> into) override {
        try {
            read(offset, into);
        } catch (const base::SystemError&) {
            throw;  // it names the file
        } catch (const base::Error& error) {
            throw base::Error(fmt::format("{}: {}", source_->file.path(), error.what()));
        }
    }

  private:
    void read(std::uint64_t offset, std::span<std::byte> into) {
        if (source_->is_archive) return all_.view_of(*source_)->read_at(offset, into);
        if (io::read_fully_at(all_.fs_, source_->file, into, offset) < into.size())
            throw base::Error("the file became shorter while it was read");
    }

    OpenSources& all_;
    std::shared_ptr<Source> source_;
};

OpenSources::OpenSources(io::FileSystem& fs, std::uint64_t memory_bytes)
    : fs_(fs), max_views_(views_for(memory_bytes)), view_bytes_(memory_bytes / max_views_) {}

std::shared_ptr<OpenSources::Source> OpenSources::find(Inode inode) {
    const std::lock_guard lock(mutex_);
    const auto found = sources_.find(inode);
    return found == sources_.end() ? nullptr : found->second.lock();
}

std::unique_ptr<OpenFile> OpenSources::open(Inode inode) {
    auto source = find(inode);
    return source ? std::make_unique<Opening>(*this, std::move(source)) : nullptr;
}

std::unique_ptr<OpenFile> OpenSources::open(io::File file, const ShownFile& shown) {
    auto source = std::make_shared<Source>(*this, std::move(file), shown);
    {
        const std::lock_guard lock(mutex_);
        sources_[shown.attributes.inode] = source;
    }
    return std::make_unique<Opening>(*this, std::move(source));
}

std::optional<Attributes> OpenSources::attributes(Inode inode) {
    const auto source = find(inode);
    return source ? std::optional(source->attributes) : std::nullopt;
}

std::shared_ptr<access::RawView> OpenSources::view_of(Source& archive) {
    const std::lock_guard making(archive.making);
    {
        const std::lock_guard lock(mutex_);
        if (archive.view) {
            recent_.splice(recent_.begin(), recent_, std::find(recent_.begin(), recent_.end(), &archive));
            return archive.view;
        }
    }
    std::shared_ptr<access::RawView> view =
        access::RawView::open(fs_, archive.file, {.memory_bytes = view_bytes_});
    if (!view || view->size_bytes() != archive.attributes.size_bytes)
        throw base::Error("the archive was written to while it was open");
    std::shared_ptr<access::RawView> oldest;  // goes when the lock is not held any longer
    const std::lock_guard lock(mutex_);
    if (recent_.size() == max_views_) {
        oldest = std::move(recent_.back()->view);
        recent_.pop_back();
    }
    archive.view = view;
    recent_.push_front(&archive);
    return view;
}

void OpenSources::forget(Source& source) noexcept {
    const std::lock_guard lock(mutex_);
    recent_.remove(&source);
    const auto found = sources_.find(source.attributes.inode);
    if (found != sources_.end() && found->second.expired()) sources_.erase(found);
}

}  // namespace vmad::mount
