"""Supported containers, codecs and streams, by libav's names.

The child processes open nothing else. `docs/formats.md` is generated from these tables.
"""

from __future__ import annotations

CONTAINERS = {
    "Matroska, WebM": "matroska,webm",
    "QuickTime, MP4, 3GP": "mov,mp4,m4a,3gp,3g2,mj2",
    "MXF (OP1a, OP-Atom, D-10)": "mxf,mxf_opatom",
    "AVI": "avi",
    "raw DV": "dv",
    "MPEG program stream, VOB": "mpeg",
    "MPEG transport stream": "mpegts",
    "elementary stream": "mpegvideo,h264,hevc,m4v",
    "YUV4MPEG2": "yuv4mpegpipe",
    "GXF": "gxf",
    "NUT": "nut",
    "Ogg": "ogg",
    "ASF, WMV": "asf",
    "Flash video": "flv",
    "IVF": "ivf",
}

# Sides of a picture in pixels. OpenCV finds no motion in smaller or larger pictures.
SMALLEST_SIDE, LARGEST_SIDE = 12, 16_384

# Lossless codecs, and lossy ones.
LOSSLESS = {
    "FFV1": "ffv1",
    "uncompressed": "rawvideo,v210,v308,v410,yuv4,r210,r10k",
    "HuffYUV, FFVHuff": "huffyuv,ffvhuff",
    "Ut Video": "utvideo",
    "MagicYUV": "magicyuv",
    "Lagarith": "lagarith",
    "QuickTime Animation": "qtrle",
    "DPX": "dpx",
    "TIFF": "tiff",
    "PNG": "png",
}
LOSSY = {
    "ProRes": "prores",
    "DNxHD, DNxHR": "dnxhd",
    "CineForm": "cfhd",
    "JPEG 2000": "jpeg2000",
    "DV, DVCAM, DVCPRO": "dvvideo",
    "MPEG-1": "mpeg1video",
    "MPEG-2, IMX (D-10), XDCAM, HDV": "mpeg2video",
    "MPEG-4 part 2": "mpeg4,msmpeg4v1,msmpeg4v2,msmpeg4",
    "H.264": "h264",
    "H.265": "hevc",
    "VC-1, Windows Media": "vc1,wmv1,wmv2,wmv3",
    "VP8, VP9": "vp8,vp9,libvpx-vp9",
    "AV1": "av1,libdav1d",
    "Motion JPEG": "mjpeg,mjpegb",
    "H.261, H.263, Sorenson Spark": "h261,h263,h263p,flv",
    "Sorenson Video": "svq1,svq3",
    "Cinepak, Indeo": "cinepak,indeo3,indeo5",
    "Theora": "theora",
    "RealVideo 4": "rv40",
}
# Sound that Matroska can hold unchanged, and sound that is refused because Matroska cannot.
SOUND = (
    "aac,ac3,eac3,mp1,mp1float,mp2,mp2float,mp3,mp3float,flac,alac,vorbis,opus,libopus,dca,truehd,"
    "wavpack,qdm2,pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,"
    "pcm_f64le"
)
SOUND_REFUSED = (
    "aac_latm,wmav1,wmav2,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,amrnb,speex,gsm_ms,pcm_s8,pcm_u16le,"
    "pcm_u16be,pcm_f32be,pcm_f64be,pcm_alaw,pcm_mulaw,pcm_bluray,pcm_dvd"
)
SUBTITLES = {
    "text": "subrip,srt,ass,ssa,webvtt,text,mov_text",
    "pictures": "dvbsub,dvdsub,pgssub",
}


def names(*tables: dict[str, str]) -> str:
    """Every libav name of the tables, separated by commas as in libav's options."""
    return ",".join(name for table in tables for name in table.values())


FORMATS = names(CONTAINERS)
VIDEO_CODECS = frozenset(names(LOSSLESS, LOSSY).split(","))
CODECS = ",".join([names(LOSSLESS, LOSSY), SOUND, SOUND_REFUSED, names(SUBTITLES)])
